// The webcam's half in the browser; the other is the class Webcam in webcam.py.
//
// One stream and one state belong to the model, and every view only draws them: a view that is
// scrolled out of sight, or shown twice, changes nothing. A frame leaves when the answer to the
// one before has come, so that none can pile up however slow Python is.

const WIDTH = 480; // pixels of the frames sent; the picture on the screen keeps its own
const QUALITY = 0.8; // of their JPEG
const SLOW = 5, GONE = 60; // seconds without an answer
const BLIND = 8; // seconds without a picture from the camera
const PREPARING = 240; // more of them where Python has said that it takes long
const LOADING = 20; // the first answer waits for the network to be loaded
const SMOOTH = 0.4, HISTORY = 30; // seconds

const SENTENCES = {
  off: "The camera is off.",
  starting: "Waiting for the camera: allow it if the browser asks.",
  loading: "The camera is on. The network is being loaded …",
  on: "The camera is on.",
  frozen: "Frozen: this picture stays, and no other is looked at.",
  gone: `Python has not answered for ${GONE} seconds, so the camera is off. Press Start again ` +
    `when it is done.`,
  blind: "The camera gives no pictures, so it is off: uncover it, or choose another, and press " +
    "Start again.",
  taken: "The camera was unplugged or switched off. Press Start when it is back.",
  insecure: "The browser gives the camera only to pages at http://localhost or over https: " +
    "open this page at such an address.",
};

function reason(error) {
  const known = {
    NotAllowedError: "The camera was refused: allow it beside the browser's address bar, " +
      "then press Start again.",
    NotFoundError: "No camera was found: connect one and press Start again, or use photographs.",
    NotReadableError: "The camera is in use by another program: close that one, " +
      "then press Start again.",
  };
  known.SecurityError = known.NotAllowedError;
  known.OverconstrainedError = known.NotFoundError;
  known.AbortError = known.NotReadableError;
  return known[error.name] ?? `The camera could not be started: ${error.name}: ${error.message}`;
}

export default () => {
  const views = new Set();
  const video = document.createElement("video"); // never in the page: there it would pause
  const shot = document.createElement("canvas"); // the frame that was sent last
  video.muted = video.playsInline = true;

  let phase = "off"; // or starting, on, frozen
  let sentence = SENTENCES.off;
  let attempt = 0; // counts the presses of Start and Stop, so that a late camera is noticed
  let python, stream, waiting, answer, bars, past, arrivals, drawn, notBefore, speed;
  let cameras = []; // where there are several, to choose from
  let camera = ""; // the one that was chosen, or that the browser took
  let ticked, still; // when we looked for a picture last, and for how long none was new

  function forget() {
    waiting = answer = bars = undefined;
    past = [];
    arrivals = [];
    drawn = -1;
    notBefore = 0;
    speed = "";
  }
  forget();

  function say(text) {
    if (sentence === text) return;
    sentence = text;
    refresh();
  }

  function stop(text = SENTENCES.off) {
    attempt += 1;
    if (stream) python.send({ off: true });
    for (const track of stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    stream = video.srcObject = null;
    phase = "off";
    sentence = text;
    forget();
    refresh();
  }

  async function start() {
    if (phase !== "off" || python.lost) return;
    if (!navigator.mediaDevices?.getUserMedia) return stop(SENTENCES.insecure);
    const mine = (attempt += 1);
    phase = "starting";
    sentence = SENTENCES.starting;
    refresh();
    try {
      // Not exactly the one that was chosen: it may be gone.
      const which = camera ? { deviceId: { ideal: camera } } : { facingMode: "user" };
      const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, ...which };
      const got = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
      if (mine !== attempt) return got.getTracks().forEach((track) => track.stop());
      stream = got;
      stream.getTracks().forEach((track) => (track.onended = () => stop(SENTENCES.taken)));
      video.srcObject = stream;
      setTimeout(
        () => mine === attempt && phase === "starting" && stop(SENTENCES.blind), 1000 * BLIND,
      );
      await video.play();
      cameras = await navigator.mediaDevices.enumerateDevices();
      cameras = cameras.filter(({ kind }) => kind === "videoinput");
      camera = stream?.getVideoTracks()[0]?.getSettings().deviceId ?? "";
    } catch (error) {
      if (mine === attempt) stop(reason(error));
      return;
    }
    if (mine !== attempt) return;
    phase = "on";
    sentence = SENTENCES.loading;
    refresh();
    look();
  }

  function choose(id) {
    camera = id;
    if (phase === "off") return;
    stop();
    start();
  }

  function freeze() {
    if (phase !== "on" && phase !== "frozen") return;
    phase = phase === "on" ? "frozen" : "on";
    sentence = SENTENCES[phase];
    arrivals = [];
    if (phase === "frozen") {
      waiting = undefined; // a frame that has not left yet does not leave
      python.send({ off: true });
    } else look();
    refresh();
  }

  function look() {
    [ticked, still] = [now(), 0];
    requestAnimationFrame(tick);
  }

  function tick() {
    if (phase !== "on") return;
    requestAnimationFrame(tick);
    if (waiting) {
      const silence = now() - (waiting.patience ?? waiting.since);
      if (silence > (answer ? SLOW : LOADING)) {
        say(BUSY);
        python.doubt();
      }
      if (silence > GONE) return stop(SENTENCES.gone);
    }
    still += Math.min(now() - ticked, 1); // a page that was out of sight looked for none
    ticked = now();
    if (still > BLIND) return stop(SENTENCES.blind);
    // Not its currentTime, which in Chromium goes on where no more frames come.
    const frames = video.getVideoPlaybackQuality().totalVideoFrames;
    if (frames === drawn || video.readyState < 2) return;
    still = 0;
    drawn = frames;
    if (!waiting && now() >= notBefore) send();
    paint();
  }

  async function send() {
    const tag = Math.random();
    waiting = { tag, since: now() };
    const scale = Math.min(1, WIDTH / video.videoWidth);
    shot.width = Math.round(scale * video.videoWidth);
    shot.height = Math.round(scale * video.videoHeight);
    shot.getContext("2d").drawImage(video, 0, 0, shot.width, shot.height);
    const blob = await new Promise((resolve) => shot.toBlob(resolve, "image/jpeg", QUALITY));
    const bytes = await blob?.arrayBuffer();
    if (waiting?.tag !== tag) return; // stopped meanwhile
    if (bytes) python.send({ tag }, [bytes]);
    else waiting = undefined;
  }

  function receive(content) {
    if (content?.wait && waiting) {
      waiting.patience = now() + PREPARING;
      return say(content.wait);
    }
    if (!waiting || content?.tag !== waiting.tag) return; // an old answer, or none of ours
    const time = now();
    const took = time - waiting.since;
    waiting = undefined;
    if (content.say) {
      forget();
      notBefore = time + 1; // what went wrong will often go wrong again
      sentence = content.say;
      return refresh();
    }
    if (phase === "on") say(content.note || SENTENCES.on);
    smooth(content, time);
    arrivals.push(time);
    if (arrivals.length > 1 && arrivals[0] < time - 1) {
      const rate = (arrivals.length - 1) / (time - arrivals[0]);
      speed = `${rate.toFixed(1)} frames/s, the last answered in ${Math.round(1000 * took)} ms`;
      arrivals = [time];
    }
    refresh();
  }

  // The bars follow the largest face, as an average in which what is older than SMOOTH fades.
  function smooth(content, time) {
    if (bars?.by !== content.by) {
      bars = undefined;
      past = [];
    }
    const [face] = content.faces;
    if (face) {
      const [left, , right] = face.box;
      const middle = (left + right) / 2;
      const near = bars && Math.abs(bars.middle - middle) < right - left; // else someone else
      const weight = near ? 1 - Math.exp(-(time - bars.time) / SMOOTH) : 1;
      const before = near ? bars.p : face.p;
      const p = face.p.map((value, k) => before[k] + weight * (value - before[k]));
      const { by, classes, colours, least } = content;
      bars = { p, time, middle, by, classes, colours, least };
      face.p = p;
    }
    answer = content;
    if (!past.length || time - past.at(-1).time >= 0.2) {
      past.push({ time, p: face ? bars.p : null });
      while (past[0].time < time - HISTORY) past.shift();
    }
  }

  function summary() {
    const seen = past.filter((moment) => moment.p);
    if (!seen.length || !bars) return "";
    const mean = bars.classes.map((_, k) => seen.reduce((s, m) => s + m.p[k], 0) / seen.length);
    const none = 1 - seen.length / past.length;
    return `On average: ${inWords(mean, { ...bars, least: 0 })}` +
      (none > 0.01 ? `; no face ${percent(none)} of the time.` : ".");
  }

  function refresh() {
    for (const view of views) view.update();
    paint();
  }

  function paint() {
    for (const { canvas, history } of views) {
      if (!canvas.offsetParent) continue; // out of sight
      paintPicture(canvas);
      paintHistory(history);
    }
  }

  function paintPicture(canvas) {
    const source = phase === "frozen" ? shot : video;
    const width = source.videoWidth ?? source.width;
    const height = source.videoHeight ?? source.height;
    const context = canvas.getContext("2d");
    if (phase === "off" || phase === "starting" || !width) {
      return context.clearRect(0, 0, canvas.width, canvas.height);
    }
    resize(canvas, 640, Math.round((640 * height) / width));
    context.setTransform(-1, 0, 0, 1, canvas.width, 0); // as in a mirror
    context.drawImage(source, 0, 0, canvas.width, canvas.height);
    context.resetTransform();
    if (answer) paintBoxes(canvas, answer, true);
  }

  // The shares of the classes over the last half minute, one above the other, the newest right.
  function paintHistory(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    if (!bars || !past.length) return;
    const last = past.at(-1).time;
    const x = (time) => width * (1 - (last - time) / HISTORY);
    const floor = past.map(() => 0);
    const { classes, colours } = bars;
    classes.forEach((name, k) => {
      const below = [...floor];
      past.forEach(({ p }, i) => (floor[i] += p ? p[k] : 0));
      context.fillStyle = colours[k];
      context.beginPath();
      for (let i = 0; i + 1 < past.length; i += 1) {
        const gap = past[i + 1].time - past[i].time > 3; // frozen, or out of sight
        if (gap || !past[i].p || !past[i + 1].p) continue;
        const [from, to] = [Math.floor(x(past[i].time)), Math.ceil(x(past[i + 1].time))];
        context.rect(from, height * (1 - floor[i]), to - from, height * (floor[i] - below[i]));
      }
      context.fill();
      const p = past.at(-1).p?.[k] ?? 0;
      if (p * height < 14 || past.length < 2) return;
      context.font = "12px sans-serif";
      context.textAlign = "right";
      context.textBaseline = "middle";
      context.fillStyle = ink(colours[k]);
      const long = context.measureText(name).width + 8;
      if (long < x(last) - x(past[0].time)) {
        context.fillText(name, width - 4, height * (1 - below.at(-1) - p / 2));
      }
    });
  }

  function render({ el }) {
    el.classList.add("jupyter-widgets", "emotion-widget", "emotion-webcam");
    const canvas = element("canvas", { role: "img", width: 640, height: 480 });
    const history = element("canvas", { role: "img", class: "history" });
    const status = element("p", { role: "status", "aria-live": "polite" });
    const result = element("p", { class: "result" });
    const doubts = element("p", { class: "doubts" });
    const list = makeBars();
    const average = element("p", { class: "small over-time" });
    const rate = element("p", { class: "small rate" });
    const place = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)
      ? "go no further than Python on this computer"
      : `go to ${location.hostname}, where Python runs`;
    const promise = element("p", { class: "small" });
    promise.textContent = `The camera's pictures are looked at once and forgotten, but for those ` +
      `that you record. None is stored, and they ${place}.`;

    const begin = button("Start", start);
    const end = button("Stop", () => stop());
    const hold = button("Freeze", freeze);
    const buttons = element("div", { role: "group", "aria-label": "Webcam" }, begin, end, hold);
    const which = element("select", { "aria-label": "Which camera" });
    which.addEventListener("change", () => choose(which.value));
    const caption = element("p", { class: "small over-time" }, `The last ${HISTORY} seconds`);
    const answers = [result, doubts, list.list, caption, history, average, rate];
    el.append(
      element("div", { class: "controls" }, buttons, which, status),
      element(
        "div", { class: "columns" },
        element("div", { class: "picture" }, canvas),
        element("div", { class: "answers" }, ...answers),
      ),
      promise,
    );

    function update() {
      if (status.textContent !== sentence) status.textContent = sentence;
      begin.ariaDisabled = String(phase !== "off" || python.lost);
      end.ariaDisabled = String(phase === "off");
      hold.ariaDisabled = String(phase !== "on" && phase !== "frozen");
      hold.ariaPressed = String(phase === "frozen");
      el.dataset.phase = phase;
      which.hidden = cameras.length < 2;
      if (which.options.length !== cameras.length) {
        which.replaceChildren(...cameras.map(({ deviceId, label }, n) => (
          element("option", { value: deviceId }, label || `Camera ${n + 1}`))));
      }
      which.value = camera;
      list.show(bars?.p, bars ?? { classes: [] });
      const found = answer?.faces.length ?? 0;
      result.textContent = !answer ? "" : !found ? "No face is seen."
        : `Apparent expression${found > 1 ? ` of the largest of ${found} faces` : ""}: ` +
          inWords(answer.faces[0].p, answer) + ".";
      doubts.textContent = answer?.faces[0]?.warnings.join(" ") ?? "";
      average.textContent = summary();
      rate.textContent = speed;
      canvas.ariaLabel = phase === "off" ? "The camera's picture: off" :
        `The camera's picture. ${result.textContent}`;
      history.ariaLabel = `The last ${HISTORY} seconds. ${average.textContent}`;
      history.hidden = caption.hidden = list.list.hidden = !bars;
    }

    const view = { canvas, history, update };
    views.add(view);
    update();
    paint();
    const resized = new ResizeObserver(paint); // also when it comes back into sight
    resized.observe(el);
    return () => {
      resized.disconnect();
      views.delete(view);
      // A cell that is run again takes its view away for a moment; an output that was deleted
      // or a notebook that was closed does so for good.
      setTimeout(() => views.size || phase === "off" || stop(), 1000);
    };
  }

  function initialize({ model }) {
    model.on("msg:custom", receive);
    python = wayToPython(model, (sentence) => stop(`${sentence} The camera is off.`));
    const leave = () => stop();
    window.addEventListener("pagehide", leave);
    return () => {
      python.close();
      window.removeEventListener("pagehide", leave);
      python.lose(STOPPED);
    };
  }

  return { initialize, render };
};
