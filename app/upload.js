// Choosing pictures, in the browser; the other half is the class Pictures in widgets.py.
//
// What is large is shrunk here, and the files travel one by one, the next when Python has answered
// the one before: a message to the kernel may hold 10 MiB, and JupyterLab loses a larger one
// without a word.

const AGAIN = document.querySelector("#rendered_cells") ? "Reload this page." // in the app
  : "Run this cell again.";
const PATIENCE = 20; // seconds without an answer

// Return a file's bytes, of a smaller copy if it is large, or null if Python cannot have it.
async function prepare(file, side, most) {
  let picture;
  try {
    picture = await createImageBitmap(file); // upright, as its EXIF says
    const longest = Math.max(picture.width, picture.height);
    if (longest > side || file.size > most) {
      const scale = Math.min(1, side / longest);
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(scale * picture.width));
      canvas.height = Math.max(1, Math.round(scale * picture.height));
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.fillStyle = "#fff"; // behind what is transparent, as Python does it
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(picture, 0, 0, canvas.width, canvas.height);
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
      return await blob.arrayBuffer();
    }
  } catch {
    // Not a picture that this browser knows; Python knows some more.
  } finally {
    picture?.close();
  }
  if (file.size > most) return null;
  return await file.arrayBuffer().catch(() => null);
}

export default () => {
  const views = new Set();
  const queue = [];
  let model;
  let sentence = "";
  let lost = false;
  let waiting; // {tag, answered, timer}
  let busy = false;

  function say(text) {
    sentence = text;
    for (const view of views) view.textContent = text;
  }

  async function work() {
    if (busy) return;
    busy = true;
    while (queue.length && !lost) {
      const { file, place, of } = queue.shift();
      say(of > 1 ? `Picture ${place + 1} of ${of}: ${file.name} …` : `${file.name} …`);
      const bytes = await prepare(file, model.get("side"), model.get("most_bytes"));
      const tag = Math.random();
      const answer = new Promise((answered) => (waiting = { tag, answered }));
      const timer = setTimeout(
        () => say("Python does not answer yet: it may be busy, and goes on after that."),
        1000 * PATIENCE,
      );
      try {
        const content = { tag, name: file.name, size: file.size, place, of };
        model.send(content, undefined, bytes ? [bytes] : []);
        await answer;
        say("");
      } catch {
        lose();
      }
      clearTimeout(timer);
    }
    busy = false;
  }

  function add(files) {
    if (lost || !files.length) return;
    [...files].slice(0, model.get("most")).forEach((file, place) => {
      queue.push({ file, place, of: files.length });
    });
    work();
  }

  function lose() {
    lost = true;
    queue.length = 0;
    waiting?.answered();
    say(`Python was stopped or restarted. ${AGAIN}`);
  }

  function initialize({ model: given }) {
    model = given;
    model.on("msg:custom", (content) => {
      if (waiting && content?.tag === waiting.tag) waiting.answered();
    });
    model.on("comm_live_update", lose);
    const kernel = model.widget_manager?.kernel;
    const ended = (_, status) => {
      if (["restarting", "autorestarting", "terminating", "dead"].includes(status)) lose();
    };
    kernel?.statusChanged?.connect(ended);
    return () => kernel?.statusChanged?.disconnect(ended);
  }

  function render({ el }) {
    el.classList.add("jupyter-widgets", "emotion-upload");
    const make = (tag, attributes) => Object.assign(document.createElement(tag), attributes);
    const input = make("input", { type: "file", accept: "image/*", multiple: true, hidden: true });
    const button = make("button", { type: "button", className: "jupyter-button" });
    button.textContent = "Upload pictures";
    const hint = make("span", { className: "small hint" });
    hint.textContent = "or drop them here";
    const status = make("span", { className: "small" });
    status.setAttribute("role", "status");
    status.textContent = sentence;
    el.append(button, hint, input, status);
    views.add(status);

    button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      add([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
    const over = (event) => {
      event.preventDefault();
      event.stopPropagation();
      el.classList.toggle("over", event.type === "dragover");
      if (event.type === "drop") add([...event.dataTransfer.files]);
    };
    for (const name of ["dragover", "dragleave", "drop"]) el.addEventListener(name, over);
    return () => views.delete(status);
  }

  return { initialize, render };
};
