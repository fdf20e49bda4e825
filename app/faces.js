// What photographs and the webcam share: boxes, bars and colours of faces, and the way to Python.
// Each widget's script has this one before it (answers.py).

const IN_APP = Boolean(document.querySelector("#rendered_cells"));
const STOPPED = `Python was stopped or restarted. ${
  IN_APP ? "Reload this page." : "Run this cell again."}`;
const LOST = "The connection to Python was lost. Reload this page.";
const BUSY = "Python does not answer yet: it may be busy, and goes on after that.";
const UNCLEAR = "too dark or unclear to say";
const DOUBT_EVERY = 10; // seconds between two looks whether Python can be reached

const percent = (p) => `${Math.round(100 * p)}%`;
const now = () => performance.now() / 1000;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function button(name, action) {
  const made = element("button", { type: "button", class: "jupyter-button" }, name);
  // aria-disabled, and not disabled, so that the keyboard stays where it is.
  made.addEventListener("click", () => made.ariaDisabled !== "true" && action());
  return made;
}

// Black or white, whichever can be read on this colour (#rrggbb).
function ink(colour) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff";
}

// The class that is named for these probabilities, or -1 if none is sure enough.
function best(p, least) {
  const most = Math.max(...p);
  return most < least ? -1 : p.indexOf(most);
}

// "happy 81%, then surprise 10%".
function inWords(p, { classes, least }) {
  if (best(p, least) < 0) return UNCLEAR;
  const order = p.map((_, k) => k).sort((a, b) => p[b] - p[a]);
  return order.slice(0, 2).map((k) => `${classes[k]} ${percent(p[k])}`).join(", then ");
}

// A list of one bar per class: its element, and what shows probabilities in it.
function makeBars() {
  const list = element("ul", { class: "bars", "aria-label": "Probabilities" });
  let rows = [];
  let built = "";
  function show(p, { classes, colours }) {
    if (classes.join("\n") !== built) {
      built = classes.join("\n");
      rows = classes.map((name, k) => {
        const bar = element("i");
        const value = element("span", { class: "value" });
        bar.style.background = colours[k];
        const track = element("span", { class: "track", "aria-hidden": "true" }, bar);
        return { bar, value, row: element("li", {}, element("span", {}, name), track, value) };
      });
      list.replaceChildren(...rows.map(({ row }) => row));
    }
    rows.forEach(({ bar, value }, k) => {
      bar.style.width = percent(p[k]);
      value.textContent = percent(p[k]);
    });
  }
  return { list, show };
}

// Give a canvas another size, which costs what is drawn on it.
function resize(canvas, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

const apart = ([a, b, c, d], [x, y, w, h]) => a + c <= x || x + w <= a || b + d <= y || y + h <= b;

// Draw a box around each face, and its class at the box. No label covers another, or another face:
// where there is no room for the class, there stands the face's number, which the list repeats.
function paintBoxes(canvas, answer, mirrored = false) {
  const context = canvas.getContext("2d");
  const scale = canvas.width / answer.size[0];
  const pixel = canvas.width / (canvas.clientWidth || canvas.width); // of the page
  const high = 20 * pixel;
  const boxes = answer.faces.map(({ box }) => {
    const [left, top, right, bottom] = box.map((value) => value * scale);
    return [mirrored ? canvas.width - right : left, top, right - left, bottom - top];
  });
  const labels = [];
  context.font = `bold ${13 * pixel}px sans-serif`;
  context.textBaseline = "middle";
  answer.faces.forEach(({ p }, index) => {
    const k = best(p, answer.least);
    const colour = k < 0 ? "#767676" : answer.colours[k];
    const [x, y, width, height] = boxes[index];
    context.lineWidth = 3 * pixel;
    context.strokeStyle = context.fillStyle = colour;
    context.strokeRect(x, y, width, height);
    const others = boxes.filter((_, other) => other !== index);
    const name = k < 0 ? "?" : `${answer.classes[k]} ${percent(p[k])}`;
    const texts = others.length ? [`${index + 1}: ${name}`, `${index + 1}`] : [name];
    const places = texts.flatMap((text) => {
      const wide = context.measureText(text).width + 10 * pixel;
      const from = Math.max(0, Math.min(x - 1.5 * pixel, canvas.width - wide));
      return [y - high, y + height, y].map((top) => ({ text, place: [from, top, wide, high] }));
    });
    const { text, place } = places.find(({ place }) => (
      place[1] >= 0 && place[1] + high <= canvas.height &&
      [...labels, ...others].every((other) => apart(place, other))
    )) ?? places.at(-1); // inside its own box
    labels.push(place);
    const [from, top, wide] = place;
    context.fillRect(from, top, wide, high);
    context.fillStyle = ink(colour);
    context.fillText(text, from + 5 * pixel, top + high / 2 + pixel);
  });
}

// The way to Python. When it is gone for good, `lost` is true, and `onLost` gets a sentence, once.
function wayToPython(model, onLost) {
  const kernel = model.widget_manager?.kernel;
  const python = { lost: false, send, lose, doubt, close };
  let asked = -Infinity;
  let misses = 0;
  const stopped = () => lose(STOPPED);
  const ended = (_, status) => {
    if (["restarting", "autorestarting", "terminating", "dead"].includes(status)) stopped();
  };
  model.on("comm_live_update", stopped); // the kernel is being restarted
  kernel?.statusChanged?.connect(ended);
  kernel?.disposed?.connect(stopped);

  function lose(sentence) {
    if (python.lost) return;
    python.lost = true;
    onLost(sentence);
  }

  function send(content, buffers = []) {
    if (python.lost) return;
    try {
      model.send(content, undefined, buffers);
    } catch {
      stopped();
    }
  }

  async function reached() {
    const { baseUrl, token } = kernel.serverSettings;
    const headers = token ? { Authorization: `token ${token}` } : {};
    const signal = AbortSignal.timeout(1000 * DOUBT_EVERY);
    try {
      return (await fetch(`${baseUrl}api/kernels/${kernel.id}`, { headers, signal })).ok;
    } catch {
      return false; // no network, or no server
    }
  }

  // To be called, as often as one likes, while an answer is overdue. A kernel that was ended while
  // the connection was down sends no word of it: the server has to be asked, and again after a
  // miss, which may be a moment without a network.
  async function doubt() {
    if (!kernel?.serverSettings || now() < asked + DOUBT_EVERY) return;
    asked = now();
    misses = (await reached()) ? 0 : misses + 1;
    if (misses > 1) lose(LOST);
    else if (misses) setTimeout(doubt, 1000 * DOUBT_EVERY + 50);
  }

  function close() {
    kernel?.statusChanged?.disconnect(ended);
    kernel?.disposed?.disconnect(stopped);
  }

  return python;
}
