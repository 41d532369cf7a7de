"use strict";
// Draws the report's explorer from the numbers that explorer.py has written; no library, no request.
(() => {
  const get = (id) => document.getElementById(id);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // ---- The numbers ----

  function unpack(text, Type) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Type(bytes.buffer);
  }

  const networks = JSON.parse(get("numbers").textContent).map((network) => {
    const G = network.times.length;
    return {
      ...network,
      pairs: (G * (G + 1)) / 2,
      norm: unpack(network.norm, Float32Array),
      error: unpack(network.error, Float32Array),
      certified: unpack(network.certified, Uint8Array),
      below: unpack(network.below, Int16Array),
    };
  });

  // What is looked at: a network, a moment of its training, and a pair as indices of times, k <= t.
  const chosen = { network: 0, moment: networks[0].steps.length - 1, t: networks[0].times.length - 1, k: 0 };

  const place = (network, moment, t, k) => moment * network.pairs + (t * (t + 1)) / 2 + k;

  function pairOf(network, moment, t, k) {
    const at = place(network, moment, t, k);
    const rest = network.ranks.length - 1;
    const sigma = [[1, network.norm[at]]];
    for (let i = 0; i < rest; i++) {
      const below = network.below[at * rest + i];
      if (below >= 0) sigma.push([network.ranks[i + 1], network.norm[at] - below / 1000]);
    }
    return { norm: network.norm[at], error: network.error[at], certified: network.certified[at] === 1, sigma };
  }

  function medianByLag(network, moment) {
    const medians = [];
    for (let lag = 0; lag < network.times.length; lag++) {
      const values = [];
      for (let t = lag; t < network.times.length; t++) values.push(network.norm[place(network, moment, t, t - lag)]);
      values.sort((a, b) => a - b);
      const bad = values.some(Number.isNaN);
      medians.push(bad ? NaN : values[Math.floor((values.length - 1) / 2)]);
    }
    return medians;
  }

  // ---- Numbers in words ----

  const minus = (text) => text.replace("-", "−");
  const fixed = (value, digits) => minus(value.toFixed(digits));

  function inWords(decades) {
    if (Number.isNaN(decades)) return "not a number";
    if (decades === -Infinity) return "exactly 0";
    const power = Math.floor(decades);
    const plain = Math.abs(decades) < 4 ? `${Number((10 ** decades).toPrecision(4))}` : `${(10 ** (decades - power)).toFixed(3)}e${power}`;
    return `${minus(plain)} (log₁₀: ${fixed(decades, 3)})`;
  }

  // ---- The map ----

  const light = { down: ["#f7f7f7", "#92c5de", "#2166ac", "#053061"], up: ["#f7f7f7", "#f4a582", "#b2182b", "#67001f"] };
  const dark = { down: ["#262b32", "#27527d", "#4a9be0", "#c9e6ff"], up: ["#262b32", "#8a3a2e", "#f0714e", "#ffdccf"] };
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");

  function blend(stops, share) {
    const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const i = Math.min(Math.floor(at), stops.length - 2);
    const [from, to] = [stops[i], stops[i + 1]].map((stop) => [1, 3, 5].map((j) => parseInt(stop.slice(j, j + 2), 16)));
    return `rgb(${from.map((value, j) => Math.round(value + (to[j] - value) * (at - i))).join(",")})`;
  }

  // One scale for all moments of a network, so that the slider shows what training changes.
  function scaleOf(network) {
    const finite = Array.from(network.norm).filter(Number.isFinite);
    let [low, high] = [0, 0];
    for (const value of finite) [low, high] = [Math.min(low, value), Math.max(high, value)];
    const largest = Math.max(-low, high, 0.1);
    return { low: Math.min(low, -0.05 * largest), high: Math.max(high, 0.05 * largest) };
  }

  const scales = networks.map(scaleOf);

  function colour(value, { low, high }) {
    const { up, down } = prefersDark.matches ? dark : light;
    return value < 0 ? blend(down, value / low) : blend(up, value / high);
  }

  const margin = { left: 44, bottom: 38, top: 8, right: 8 };
  let cell = 1;

  function drawMap() {
    const network = networks[chosen.network];
    const scale = scales[chosen.network];
    const G = network.times.length;
    const canvas = get("map");
    const size = canvas.clientWidth;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(size * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    cell = Math.min(size - margin.left - margin.right, size - margin.top - margin.bottom) / G;
    const x = (k) => margin.left + k * cell;
    const y = (t) => size - margin.bottom - (t + 1) * cell;
    const seen = new Set();
    for (let t = 0; t < G; t++) {
      for (let k = 0; k <= t; k++) {
        const at = place(network, chosen.moment, t, k);
        const value = network.norm[at];
        const mark = Number.isNaN(value) ? "NaN" : value === -Infinity ? "exactly 0" : null;
        pen.fillStyle = mark ? style(mark === "NaN" ? "--nan" : "--zero") : colour(value, scale);
        pen.fillRect(x(k), y(t), cell + 0.5, cell + 0.5);
        if (mark) seen.add(mark);
        if (!network.certified[at] && mark !== "NaN") {
          seen.add("not certified (crossed)");
          line(pen, style("--faint"), 1, [x(k), y(t)], [x(k) + cell, y(t) + cell]);
        }
      }
    }
    const ticks = ticksOf(0, network.times[G - 1], size < 360 ? 3 : 5).map((value) => nearest(network.times, value));
    pen.fillStyle = style("--ink");
    pen.font = "12px system-ui, sans-serif";
    for (const i of ticks) {
      const label = String(network.times[i]);
      pen.textAlign = "center";
      pen.fillText(label, x(i) + cell / 2, size - margin.bottom + 15);
      pen.textAlign = "right";
      pen.fillText(label, margin.left - 6, y(i) + cell / 2 + 4);
    }
    pen.textAlign = "center";
    pen.fillText("k (step of the earlier state)", x(G / 2), size - 6);
    pen.save();
    pen.translate(12, y(G / 2));
    pen.rotate(-Math.PI / 2);
    pen.fillText("t (step of the later state)", 0, 0);
    pen.restore();
    line(pen, style("--faint"), 1, [x(chosen.k) + cell / 2, y(chosen.t) + cell], [x(chosen.k) + cell / 2, y(-1)]);
    line(pen, style("--faint"), 1, [margin.left, y(chosen.t) + cell / 2], [x(chosen.k), y(chosen.t) + cell / 2]);
    pen.strokeStyle = style("--ink");
    pen.lineWidth = 2;
    pen.strokeRect(x(chosen.k) - 1, y(chosen.t) - 1, cell + 2, cell + 2);
    get("marks").textContent = seen.size ? `Marked: ${[...seen].join(", ")}` : "Every pair is certified.";
    drawScale(scale);
  }

  function line(pen, stroke, width, from, to) {
    pen.strokeStyle = stroke;
    pen.lineWidth = width;
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.stroke();
  }

  function drawScale(scale) {
    const steps = Array.from({ length: 41 }, (_, i) => {
      const value = i < 20 ? scale.low * (1 - i / 20) : scale.high * ((i - 20) / 20);
      return `${colour(value, scale)} ${i * 2.5}%`;
    });
    get("bar").style.background = `linear-gradient(to right, ${steps.join(",")})`;
    get("low").value = fixed(scale.low, 2);
    get("high").value = `+${fixed(scale.high, 2)}`;
  }

  function nearest(times, value) {
    return times.reduce((best, time, i) => (Math.abs(time - value) < Math.abs(times[best] - value) ? i : best), 0);
  }

  // ---- Charts ----

  function ticksOf(low, high, count) {
    const raw = (high - low) / Math.max(count, 1) || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((candidate) => candidate >= raw);
    const ticks = [];
    for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-9) + 1e-12; i++) ticks.push(i * step);
    return ticks;
  }

  function element(parent, name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  // Curves of points [x, y] with y in decades or plain; what is not finite leaves a gap.
  function chart(svg, curves, { xLabel, yLabel, xRange, dots = false }) {
    svg.replaceChildren();
    const [width, height] = [svg.clientWidth, svg.clientHeight];
    const box = { left: 58, right: 12, top: 10, bottom: 40 };
    const values = curves.flatMap(({ points }) => points.map(([, y]) => y)).filter(Number.isFinite);
    let [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [-1, 1];
    const spare = Math.max((high - low) * 0.05, 1e-3);
    [low, high] = [low - spare, high + spare];
    const x = (value) => box.left + ((value - xRange[0]) / (xRange[1] - xRange[0] || 1)) * (width - box.left - box.right);
    const y = (value) => height - box.bottom - ((value - low) / (high - low)) * (height - box.top - box.bottom);
    const digits = Math.max(0, Math.ceil(-Math.log10((high - low) / 4)));
    for (const tick of ticksOf(low, high, 5)) {
      element(svg, "line", { class: "grid", x1: box.left, x2: width - box.right, y1: y(tick), y2: y(tick) });
      element(svg, "text", { x: box.left - 6, y: y(tick) + 4, "text-anchor": "end" }, fixed(tick, digits));
    }
    for (const tick of ticksOf(...xRange, width < 400 ? 4 : 8).filter(Number.isInteger)) {
      element(svg, "text", { x: x(tick), y: height - box.bottom + 16, "text-anchor": "middle" }, String(tick));
    }
    element(svg, "text", { x: (box.left + width) / 2, y: height - 6, "text-anchor": "middle" }, xLabel);
    element(svg, "text", { transform: `translate(14 ${(height - box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, yLabel);
    for (const { points, stroke, dash } of curves) {
      let path = "";
      let open = false;
      for (const [at, value] of points) {
        if (Number.isFinite(value)) path += `${open ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
        open = Number.isFinite(value);
        if (dots && open) element(svg, "circle", { cx: x(at), cy: y(value), r: 3.5, fill: stroke });
      }
      element(svg, "path", { d: path, fill: "none", stroke, "stroke-width": 2, "stroke-dasharray": dash || "none" });
    }
  }

  // Checkboxes that switch curves on and off; returns what is on.
  function legend(fieldset, labels, { on = () => true, draw }) {
    const boxes = labels.map(({ text, stroke, dash }, i) => {
      const label = document.createElement("label");
      const box = document.createElement("input");
      const sample = element(label, "svg", { class: "sample", "aria-hidden": true });
      box.type = "checkbox";
      box.checked = on(i);
      box.addEventListener("change", draw);
      element(sample, "line", { x1: 0, x2: 32, y1: 6, y2: 6, stroke, "stroke-width": 2, "stroke-dasharray": dash || "none" });
      label.append(box, sample, text);
      fieldset.append(label);
      return box;
    });
    return () => boxes.map((box) => box.checked);
  }

  const dashes = ["", "7 3", "2 3", "9 3 2 3", "4 4", "1 5"];
  const hue = (i) => `var(--c${i % 7})`;

  const lagLabels = networks.map(({ name }, i) => ({ text: name, stroke: hue(i) }));
  const lagsOn = legend(get("by-lag-legend"), lagLabels, { draw: drawByLag });

  function drawByLag() {
    const on = lagsOn();
    const curves = networks
      .map((network, i) => {
        const moment = Math.min(chosen.moment, network.steps.length - 1);
        const points = medianByLag(network, moment).map((value, lag) => [network.times[lag] - network.times[0], value]);
        return { points, stroke: hue(i) };
      })
      .filter((_, i) => on[i]);
    const { times } = networks[0];
    chart(get("by-lag"), curves, { xLabel: "lag t − k (steps)", yLabel: "log₁₀ norm", xRange: [0, times[times.length - 1] - times[0]] });
  }

  const losses = networks.flatMap(({ name, loss }, i) => {
    // The last is full BPTT.
    const windows = Object.keys(loss).sort((a, b) => (a === "full") - (b === "full") || a - b);
    return windows.map((label, j) => ({
      text: label === "full" ? `${name}, full BPTT` : `${name}, window ${label}`,
      full: label === "full",
      points: loss[label][0].map((step, p) => [step, loss[label][1][p]]),
      stroke: hue(i),
      dash: label === "full" ? "" : dashes[1 + (j % (dashes.length - 1))],
    }));
  });
  get("training").hidden = !losses.length;
  const lossesOn = legend(get("loss-legend"), losses, { on: (i) => losses[i].full, draw: drawLosses });

  function drawLosses() {
    if (!losses.length) return;
    const on = lossesOn();
    const last = Math.max(...losses.map(({ points }) => points[points.length - 1][0]));
    const curves = losses.filter((_, i) => on[i]);
    chart(get("loss"), curves, { xLabel: "training step", yLabel: "loss", xRange: [0, last] });
  }

  function drawPair() {
    const network = networks[chosen.network];
    const [t, k] = [network.times[chosen.t], network.times[chosen.k]];
    const pair = pairOf(network, chosen.moment, chosen.t, chosen.k);
    const n = network.ranks[network.ranks.length - 1];
    const [lastRank] = pair.sigma[pair.sigma.length - 1];
    const words = [`t = ${t}, k = ${k}, lag ${t - k}.`, `‖∂h_${t}/∂h_${k}‖₂ = ${inWords(pair.norm)}.`];
    if (pair.certified) words.push(`Certified: off by at most ${pair.error.toPrecision(2)} decades.`);
    else words.push(Number.isFinite(pair.error) ? `Not certified: may be off by ${pair.error.toPrecision(2)} decades.` : "Not certified.");
    if (pair.certified && n > 1) {
      words.push(lastRank === n ? `All ${n} singular values are certified.` : `Singular values are certified down to σ of rank ${lastRank} of ${n}; smaller ones are lost in rounding.`);
    }
    get("pair").textContent = words.join(" ");
    get("t").value = t;
    get("k").value = k;
    const points = pair.certified ? pair.sigma : [];
    chart(get("spectrum"), [{ points, stroke: hue(chosen.network) }], { xLabel: "rank i of n", yLabel: "log₁₀ σ_i", xRange: [1, Math.max(n, 2)], dots: true });
  }

  // ---- What the reader does ----

  function setUp() {
    const network = networks[chosen.network];
    const slider = get("moment");
    slider.max = network.steps.length - 1;
    slider.value = chosen.moment;
    get("moments").hidden = network.steps.length === 1;
    for (const id of ["t", "k"]) {
      const { times } = network;
      Object.assign(get(id), { min: times[0], max: times[times.length - 1], step: times.length > 1 ? times[1] - times[0] : 1 });
    }
  }

  function draw() {
    const network = networks[chosen.network];
    const step = network.steps[chosen.moment];
    get("steps").value = step;
    get("moment").setAttribute("aria-valuetext", `${step} training steps`);
    drawMap();
    drawPair();
  }

  function drawAll() {
    draw();
    drawByLag();
    drawLosses();
  }

  function choosePair(t, k) {
    const last = networks[chosen.network].times.length - 1;
    t = Math.min(Math.max(t, 0), last);
    k = Math.min(Math.max(k, 0), t);
    if (t === chosen.t && k === chosen.k) return;
    Object.assign(chosen, { t, k });
    draw();
  }

  get("map").addEventListener("pointermove", point);
  get("map").addEventListener("pointerdown", point);
  function point(event) {
    const box = get("map").getBoundingClientRect();
    const k = Math.floor((event.clientX - box.left - margin.left) / cell);
    const t = Math.floor((box.bottom - margin.bottom - event.clientY) / cell);
    if (k >= 0 && t >= k && t < networks[chosen.network].times.length) choosePair(t, k);
  }

  get("map").addEventListener("keydown", (event) => {
    const far = event.shiftKey ? 5 : 1;
    const moves = { ArrowUp: [far, 0], ArrowDown: [-far, 0], ArrowRight: [0, far], ArrowLeft: [0, -far] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    choosePair(Math.max(chosen.t + move[0], move[0] < 0 ? chosen.k : 0), chosen.k + move[1]);
  });

  for (const id of ["t", "k"]) {
    get(id).addEventListener("change", () => {
      const { times } = networks[chosen.network];
      const t = nearest(times, Number(get("t").value));
      const k = nearest(times, Number(get("k").value));
      if (id === "k") choosePair(Math.max(t, k), k);
      else choosePair(t, Math.min(t, k));
      drawPair(); // also what was out of range
    });
  }

  get("moment").addEventListener("input", () => {
    chosen.moment = Number(get("moment").value);
    draw();
    drawByLag();
  });

  for (const radio of document.getElementsByName("network")) {
    radio.addEventListener("change", () => {
      const before = networks[chosen.network].times.length;
      chosen.network = Number(radio.value);
      chosen.moment = Math.min(chosen.moment, networks[chosen.network].steps.length - 1);
      if (networks[chosen.network].times.length !== before) Object.assign(chosen, { t: networks[chosen.network].times.length - 1, k: 0 });
      setUp();
      drawAll();
    });
  }

  get("explorer").hidden = false;
  setUp();
  drawAll();
  prefersDark.addEventListener("change", drawAll);
  new ResizeObserver(drawAll).observe(get("explorer"));
})();
