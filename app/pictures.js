// Choosing pictures, and what is said of them; the other half is the class Pictures
// (photographs.py).
//
// What is large is shrunk here, and the files travel one by one, the next when Python has answered
// the one before: a message to the kernel may hold 10 MiB, and JupyterLab loses a larger one
// without a word. The pictures stay in this page, so that they can be asked about again.

const SIDE = 1600; // pixels of what is sent
const MOST = 20, MOST_FACES = 10; // shown at once
const MOST_BYTES = 8_000_000;
const PATIENCE = 20; // seconds without an answer
const TALLEST = 480; // pixels of the page, of a picture that is drawn
const CROP = 48; // pixels of what the network sees

const LARGE = "The browser cannot open this, and it is too large to send: save it as JPEG or PNG.";
const FOLDER = "This is a folder: open it, and choose the pictures in it.";
const GONE = "This file cannot be read any more: was it moved, renamed or deleted?";
const LINK = "That is a link or a text: save the picture as a file first, then choose or drop it.";
const NO_FACE = "No face was found. If it is one, tick “the whole picture is the face”.";

// Where a file says, in its EXIF, how it lies: the place of that byte, or -1.
function orientationPlace(bytes) {
  const text = new TextDecoder("latin1").decode(bytes);
  const found = /(?:Exif\0\0|EXIF[^]{4}|eXIf)(II\*\0|MM\0\*)/.exec(text);
  if (!found) return -1;
  const start = found.index + found[0].length - 4;
  const view = new DataView(bytes);
  const little = found[1] === "II*\0";
  const first = start + view.getUint32(start + 4, little);
  const entries = view.getUint16(first, little);
  for (let at = first + 2; at < first + 2 + 12 * entries; at += 12) {
    if (view.getUint16(at, little) === 0x0112) return at + (little ? 8 : 9);
  }
  return -1;
}

// Put an EXIF that says how it lies, and nothing else, into a JPEG.
function withOrientation(jpeg, orientation) {
  const exif = [0xff, 0xe1, 0, 34, ...new TextEncoder().encode("Exif\0\0MM\0*"), 0, 0, 0, 8, 0, 1,
    1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0];
  const all = new Uint8Array(jpeg.byteLength + exif.length);
  all.set(new Uint8Array(jpeg, 0, 2));
  all.set(exif, 2);
  all.set(new Uint8Array(jpeg, 2), 2 + exif.length);
  return all.buffer;
}

// A smaller copy that lies as the file does, with the same word about it: one browser turns what
// another leaves, so that here nothing is turned, and in Python everything.
async function shrink(bytes) {
  let orientation = 1;
  let place = -1;
  try {
    place = orientationPlace(bytes);
  } catch {
    // Damaged EXIF must not cost the picture.
  }
  const copy = new Uint8Array(bytes.slice(0));
  if (place >= 0) [orientation, copy[place]] = [copy[place], 1];
  const picture = await createImageBitmap(new Blob([copy]));
  const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
  if (scale === 1 && bytes.byteLength <= MOST_BYTES) return bytes;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * picture.width));
  canvas.height = Math.max(1, Math.round(scale * picture.height));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // behind what is transparent, as Python does it
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return withOrientation(await blob.arrayBuffer(), orientation);
}

// What is sent for a file, its bytes or those of a smaller copy, or the problem with it.
async function prepare(file) {
  let bytes;
  try {
    bytes = await file.arrayBuffer();
  } catch {
    return { problem: GONE };
  }
  try {
    return { bytes: await shrink(bytes) };
  } catch {
    // Not a picture that this browser knows; Python knows some more.
  }
  return bytes.byteLength > MOST_BYTES ? { problem: LARGE } : { bytes };
}

// The files in what was dropped or pasted; a folder has no bytes, and says so.
function filesOf(data) {
  const items = [...(data?.items ?? [])].filter((item) => item.kind === "file");
  return items.map((item) => ({
    file: item.getAsFile(),
    problem: item.webkitGetAsEntry?.()?.isDirectory ? FOLDER : undefined,
  }));
}

export default () => {
  const views = new Set();
  const queue = []; // cards whose answer is still to come
  let cards = []; // {name, batch, place, of, file, sample, bytes, problem, answer, bitmap, crops}
  let model;
  let python;
  let sentence = "";
  let waiting; // {tag, answered}
  let busy = false;
  let whole = false;
  let sample = "";

  function say(text) {
    sentence = text;
    for (const view of views) view.status.textContent = text;
  }

  function refresh() {
    for (const view of views) view.update();
  }

  function add(found) {
    if (python.lost || !found.length) return;
    whole = false; // what held for the pictures before
    sample = found[0].sample ?? "";
    const [batch, of] = [Math.random(), found.length];
    queue.push(...found.slice(0, MOST).map((card, place) => (
      { name: card.file?.name || "A picture", ...card, batch, place, of })));
    refresh();
    work();
  }

  function again() {
    for (const card of cards) if (!queue.includes(card)) queue.push(card);
    work();
  }

  async function work() {
    if (busy) return;
    busy = true;
    while (queue.length && !python.lost) {
      const card = queue.shift();
      if (!cards.includes(card)) {
        if (card.place === 0) cards = [];
        cards.push(card);
      }
      const which = card.of > 1 ? `Picture ${card.place + 1} of ${card.of}: ` : "";
      say(`${which}${card.name} …`);
      refresh();
      if (card.file && !card.problem) Object.assign(card, await prepare(card.file), { file: null });
      if (card.problem) card.answer = { say: card.problem };
      else await ask(card);
      if (!python.lost) say("");
      refresh();
    }
    busy = false;
  }

  async function ask(card) {
    const tag = Math.random();
    const since = now();
    const answer = new Promise((answered) => (waiting = { tag, answered }));
    const timer = setInterval(() => {
      if (now() - since < PATIENCE) return;
      say(BUSY);
      python.doubt();
    }, 1000);
    const { batch, bytes, bitmap } = card;
    const about = { tag, batch, sample: card.sample, whole, drawn: Boolean(bitmap) };
    python.send(about, bytes ? [bytes] : []);
    const received = await answer;
    clearInterval(timer);
    if (!received) return; // lost
    const [content, [crops, picture] = []] = received;
    if (picture) card.bitmap = await createImageBitmap(new Blob([picture]));
    Object.assign(card, { answer: content, crops }); // what is drawn now stays drawn
  }

  function lose(text) {
    queue.length = 0;
    waiting?.answered();
    say(text);
  }

  function initialize({ model: given }) {
    model = given;
    python = wayToPython(model, lose);
    model.on("msg:custom", (content, buffers) => {
      if (content?.again) again();
      if (waiting && content?.tag === waiting.tag) waiting.answered([content, buffers]);
    });
    return () => python.close();
  }

  // What is said of a picture, as an element that can be drawn anew when its size changes.
  function makeCard({ name, answer, bitmap, crops, place, of }) {
    const nobody = answer?.faces?.length === 0 ? NO_FACE : "";
    const said = answer ? answer.say ?? [answer.note, nobody].join(" ").trim() : "…";
    const text = element("p", {}, element("b", {}, name), said ? `: ${said}` : "");
    const card = element("article", {}, text);
    let paint = () => {};
    if (bitmap && answer?.faces) {
      const told = answer.faces.map(({ words, warnings }, index) => (
        [`Face ${index + 1} ${words}.`, ...warnings].join(" ")));
      const canvas = element("canvas", { role: "img", "aria-label": `${name}. ${told.join(" ")}` });
      paint = () => {
        if (!canvas.clientWidth) return;
        const onScreen = canvas.clientWidth * (window.devicePixelRatio || 1);
        const wide = Math.round(Math.min(onScreen, 2 * bitmap.width));
        resize(canvas, wide, Math.round((wide * bitmap.height) / bitmap.width));
        canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
        paintBoxes(canvas, answer);
      };
      const tallest = (TALLEST * bitmap.width) / bitmap.height;
      canvas.style.maxWidth = `${Math.min(Math.max(bitmap.width, 240), tallest)}px`;
      const faces = element("ol", { class: "faces" });
      answer.faces.slice(0, MOST_FACES).forEach(({ p }, index) => {
        const bars = makeBars();
        bars.show(p, answer);
        const caption = element("figcaption", {}, "at 48×48");
        const crop = element("figure", {}, makeCrop(crops, index), caption);
        faces.append(element("li", {}, element("p", {}, told[index]), crop, bars.list));
      });
      const many = answer.faces.length > 1 ? "columns many" : "columns";
      const picture = element("div", { class: "picture" }, canvas);
      card.append(element("div", { class: many }, picture, faces));
      if (answer.faces.length > MOST_FACES) {
        card.append(`Only the ${MOST_FACES} largest are drawn with their probabilities.`);
      }
    }
    if (of > MOST && place === MOST - 1) {
      const rest = `${of - MOST} more were left out: choose at most ${MOST} at once.`;
      card.append(element("p", {}, rest));
    }
    return { card, paint };
  }

  // What the network saw of a face, from its grey levels.
  function makeCrop(crops, index) {
    const look = { width: CROP, height: CROP, class: "crop", "aria-hidden": "true" };
    const canvas = element("canvas", look);
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(CROP, CROP);
    const size = CROP * CROP;
    const grey = new Uint8Array(crops.buffer, crops.byteOffset + index * size, size);
    grey.forEach((level, i) => pixels.data.set([level, level, level, 255], 4 * i));
    context.putImageData(pixels, 0, 0);
    return canvas;
  }

  function makeControls(view) {
    const input = element("input", { type: "file", accept: "image/*", multiple: "", hidden: "" });
    input.addEventListener("change", () => {
      add([...input.files].map((file) => ({ file })));
      input.value = ""; // so that the same file can be chosen again
    });
    view.status = element("span", { class: "small", role: "status" }, sentence);
    const hint = element("span", { class: "small hint" }, "or drop or paste them here");
    const area = element(
      "div", { class: "area" }, button("Upload pictures", () => input.click()), hint, input,
      view.status,
    );
    const names = model.get("samples");
    if (!names.length) return [area];
    view.picker = element("select", {}, element("option", { value: "" }, "choose one"));
    view.picker.append(...names.map((name) => element("option", { value: name }, name)));
    view.picker.addEventListener("change", () => {
      const name = view.picker.value;
      if (name) add([{ name, sample: name }]);
    });
    view.whole = element("input", { type: "checkbox" });
    view.whole.addEventListener("change", () => {
      whole = view.whole.checked;
      refresh();
      again();
    });
    const tick = element("label", {}, view.whole, "the whole picture is the face");
    return [element("label", {}, "Sample ", view.picker), area, tick];
  }

  // Take what is dropped or pasted anywhere in the panel: beside it, the browser would leave the
  // page for the bare picture, and what was recorded would be lost. In the app that holds for the
  // whole page.
  function listen(el, area, signal) {
    const panel = IN_APP ? window : el.closest(".emotion-panel") ?? el;
    const visible = () => el.isConnected && el.offsetParent !== null;
    const take = (data) => {
      const found = filesOf(data);
      if (found.length) add(found);
      else if (!python.lost) say(LINK);
    };
    const options = { signal };
    panel.addEventListener("dragover", (event) => {
      event.preventDefault();
      event.stopPropagation();
      if (visible()) area.classList.add("over");
    }, options);
    panel.addEventListener("dragleave", () => area.classList.remove("over"), options);
    panel.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      area.classList.remove("over");
      if (visible()) take(event.dataTransfer);
    }, options);
    document.addEventListener("paste", (event) => {
      const inside = panel === window || panel.contains(event.target);
      const typing = event.target.closest?.("input:not([type=checkbox]), textarea");
      if (typing || !inside || !visible()) return;
      event.preventDefault();
      event.stopPropagation();
      take(event.clipboardData);
    }, { signal, capture: true });
  }

  function render({ el }) {
    el.classList.add("jupyter-widgets", "emotion-widget", "emotion-upload");
    el.tabIndex = 0; // so that one can paste here
    el.dataset.lmSuppressShortcuts = "true"; // or JupyterLab would paste cells
    const view = {};
    const controls = element("div", { class: "controls" }, ...makeControls(view));
    const results = element("div", { class: "results", role: "status", "aria-live": "polite" });
    let shown = new Map(); // what each card's answer was drawn as
    view.update = () => {
      if (view.picker) view.picker.value = sample;
      if (view.whole) view.whole.checked = whole;
      const before = shown;
      shown = new Map(cards.map((card) => {
        const { answer } = card;
        const old = before.get(card);
        return [card, old && old.answer === answer ? old : { answer, ...makeCard(card) }];
      }));
      const list = [...shown.values()];
      const there = [...results.children];
      if (there.length !== list.length || list.some(({ card }, i) => card !== there[i])) {
        results.replaceChildren(...list.map(({ card }) => card));
      }
      list.forEach(({ paint }) => paint());
    };
    el.append(controls, results);
    views.add(view);
    view.update();
    const end = new AbortController();
    // A view is rendered before it is in the page, where its panel is.
    const resized = new ResizeObserver(() => [...shown.values()].forEach(({ paint }) => paint()));
    resized.observe(el);
    requestAnimationFrame(() => listen(el, controls.querySelector(".area"), end.signal));
    return () => {
      end.abort();
      resized.disconnect();
      views.delete(view);
    };
  }

  return { initialize, render };
};
