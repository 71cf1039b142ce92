// The page: what is in #data, drawn. Texts are set as text, never as markup.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main"), zoom = document.getElementById("zoom"), root = document.documentElement;
  const LINES = ["#3b76e0", "#dc6b2f", "#2f9e57", "#9a5cc4", "#c2405a"];
  const KINDS = { jitter: "#e0b020", inversion: "#9a5cc4", swap: "#3b76e0", miss: "#d2483f", "missed person": "#7c8494" };
  const percent = (share) => `${(100 * share).toFixed(1)} %`;

  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) name.startsWith("on") ? node.addEventListener(name.slice(2), value) : node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes = {}, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  const section = (title, ...children) => main.append(make("section", {}, make("h2", {}, title), ...children));
  const table = ([heads, ...rows]) => make("div", { class: "wide", tabindex: 0 }, make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", { scope: "col" }, h)))),
    make("tbody", {}, ...rows.map((r) => make("tr", {}, ...r.map((c) => make("td", {}, c)))))));

  // charts: uPlot, with the values below the pointer in the legend
  const drawn = [];
  const ink = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const chart = (content) => {
    const place = make("div", { class: "chart" }, make("h3", {}, content.title));
    if (content.note) place.append(make("p", { class: "note" }, content.note));
    drawn.push({ place, content });
    return place;
  };
  const plot = (entry) => {
    entry.plot?.destroy();
    const axis = { stroke: () => ink("--soft"), grid: { stroke: () => ink("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const value = (_, v) => (v == null ? "–" : Math.abs(v) >= 100 ? v.toLocaleString() : String(Number(v.toPrecision(4))));
    const series = entry.content.names.map((label, n) => ({ label, value, stroke: LINES[n % LINES.length], width: 2, spanGaps: true }));
    entry.plot = new uPlot({
      width: Math.max(entry.place.clientWidth, 200), height: 230, scales: { x: { time: false } }, cursor: { y: false },
      axes: [{ ...axis, label: entry.content.x, size: 28, labelSize: 20, labelFont: "12px system-ui" }, { ...axis, size: 62, values: (u, marks) => marks.map((v) => value(u, v)) }],
      series: [{ label: entry.content.x, value }, ...series],
    }, entry.content.data, entry.place);
  };
  const charts = (contents) => make("div", { class: "charts" }, ...contents.map(chart));

  // the skeleton with shares of errors as rings
  const skeleton = (s) => {
    const [right, bottom] = [0, 1].map((axis) => Math.max(...s.xy.map((p) => p[axis])));
    const picture = draw("svg", { class: "skeleton", viewBox: `-70 -70 ${right + 140} ${bottom + 140}`, role: "img", "aria-label": "shares of errors by point" });
    s.bones.forEach(([a, b], n) => picture.append(draw("line", { x1: s.xy[a][0], y1: s.xy[a][1], x2: s.xy[b][0], y2: s.xy[b][1], stroke: s.boneColours[n], "stroke-width": 8, opacity: 0.5 })));
    s.points.forEach((name, k) => {
      const [x, y] = s.xy[k], radius = 34, around = 2 * Math.PI * radius;
      const told = Object.keys(KINDS).map((kind) => `${kind} ${percent(s.shares[kind][k])}`).join(", ");
      const words = `${name}: ${told}; ${s.labelled[k].toLocaleString()} labels; mending it adds ${s.gains[k].toFixed(1)} ${s.metric}`;
      const ring = draw("g", { transform: `rotate(-90 ${x} ${y})` }, draw("circle", { cx: x, cy: y, r: radius, fill: ink("--page"), stroke: ink("--line"), "stroke-width": 16 }));
      let start = 0;
      for (const [kind, colour] of Object.entries(KINDS)) {
        const length = s.shares[kind][k] * around;
        if (length) ring.append(draw("circle", { cx: x, cy: y, r: radius, fill: "none", stroke: colour, "stroke-width": 16, "stroke-dasharray": `${length} ${around}`, "stroke-dashoffset": -start }));
        start += length;
      }
      const wrong = Object.keys(KINDS).reduce((sum, kind) => sum + s.shares[kind][k], 0);
      const label = draw("text", { x, y: y + 8, "text-anchor": "middle", fill: ink("--ink"), style: "font-size:24px" }, `${Math.round(100 * wrong)}`);
      picture.append(draw("g", { tabindex: 0, role: "img", "aria-label": words }, draw("title", {}, words), ring, label));
    });
    const legend = make("p", { class: "legend" }, ...Object.entries(KINDS).map(([kind, colour]) => make("span", {}, make("i", { style: `background:${colour}` }), kind)));
    return make("div", {}, picture, legend, make("p", { class: "note" }, "Percent of each point's labels with an error; point at a ring for its parts."));
  };

  // a case's heatmaps, decoded when they are asked for: the strip of all points, one map below the other
  const strips = new Map(), drawnCases = new WeakMap();
  const strip = (c) => {
    if (!strips.has(c)) {
      const picture = new Image();
      picture.src = `data:image/jpeg;base64,${c.heat.maps}`;
      strips.set(c, picture.decode().then(() => {
        const [high, wide] = c.heat.size, canvas = make("canvas", { width: wide, height: high * data.skeleton.points.length });
        canvas.getContext("2d").drawImage(picture, 0, 0);
        return canvas.getContext("2d").getImageData(0, 0, wide, canvas.height).data;
      }));
    }
    return strips.get(c);
  };
  const heat = async (picture, c, point) => {
    const bytes = await strip(c), [high, wide] = c.heat.size, canvas = make("canvas", { width: wide, height: high });
    const pen = canvas.getContext("2d"), out = pen.createImageData(wide, high), ks = point === "" ? data.skeleton.points.map((_, k) => k) : [Number(point)];
    for (let n = 0; n < wide * high; n += 1) {
      const value = Math.max(...ks.map((k) => bytes[4 * (k * wide * high + n)]));
      out.data.set([Math.min(255, 90 + 3 * value), Math.max(0, Math.min(255, 2 * value - 160)), Math.max(0, 4 * value - 800), Math.min(225, 2 * value)], 4 * n);
    }
    pen.putImageData(out, 0, 0);
    const [left, top, right, bottom] = c.heat.region;
    picture.querySelector(".heat")?.remove();
    picture.querySelector("image").after(draw("image", { class: "heat", href: canvas.toDataURL(), x: left, y: top, width: right - left, height: bottom - top, preserveAspectRatio: "none" }));
  };

  // one case: the picture, and prediction and annotation as layers
  const overlay = (c, alone) => {
    const s = data.skeleton, scale = Math.max(c.width, c.height) / 300;
    const picture = draw("svg", { viewBox: `0 0 ${c.width} ${c.height}` }, draw("image", { href: `data:image/jpeg;base64,${c.picture}`, width: c.width, height: c.height }));
    const layer = (name, points, counts, dash) => {
      const group = draw("g", { class: name });
      s.bones.forEach(([a, b], n) => {
        if (counts(points[a]) && counts(points[b])) group.append(draw("line", { x1: points[a][0], y1: points[a][1], x2: points[b][0], y2: points[b][1], stroke: s.boneColours[n], "stroke-width": 2 * scale, "stroke-dasharray": dash }));
      });
      points.forEach((p, k) => {
        if (!counts(p)) return;
        const about = name === "found" ? `${s.points[k]}: score ${p[2]}${c.kinds[k] ? `, ${c.kinds[k]}` : ""}` : `${s.points[k]}, annotated${p[2] === 1 ? " (hidden)" : ""}`;
        const shape = name === "found" ? { r: 3 * scale, fill: s.pointColours[k], stroke: "#000", "stroke-width": scale } : { r: 4.5 * scale, fill: "none", stroke: s.pointColours[k], "stroke-width": 1.6 * scale };
        group.append(draw("circle", { cx: p[0], cy: p[1], ...shape }, draw("title", {}, about)));
      });
      picture.append(group);
    };
    if (c.truth) layer("truth", c.truth, (p) => p[2] > 0, `${3 * scale} ${3 * scale}`);
    if (c.found) layer("found", c.found, () => true, "none");
    if (alone) fill(picture, { role: "img", "aria-label": caption(c) }, []);
    drawnCases.set(picture, c);
    return picture;
  };
  const caption = (c) => [c.type === "person" ? `${data.skeleton.measure} ${c.oks.toFixed(2)}` : c.type,
    c.score == null ? "" : `score ${c.score.toFixed(2)}`, c.type === "person" ? c.errors.join(", ") : "", c.file].filter(Boolean).join(" · ");

  const gallery = () => {
    const page = 24;
    let chosen = [], shown = 0, open = 0;
    const select = (label, options, change) => {
      const box = make("select", { onchange: change, "aria-label": label }, ...options.map(([value, text]) => make("option", { value }, text)));
      return [make("label", {}, label, box), box];
    };
    const errors = [...new Set(data.cases.flatMap((c) => c.errors))];
    const joints = data.skeleton.points, groups = [...new Set(data.cases.flatMap((c) => Object.entries(c.groups).map(([name, label]) => `${name}: ${label}`)))].sort();
    const [errorLabel, error] = select("error", [["", "any"], ...errors.map((e) => [e, e])], () => refresh());
    const [jointLabel, joint] = select("point", [["", "any"], ...joints.map((p, k) => [k, p])], () => refresh());
    const [groupLabel, group] = select("people", [["", "all"], ...groups.map((g) => [g, g])], () => refresh());
    const orders = [["worst", "worst first"], ["best", "best first"], ["score", "highest score"], ["large", "largest"], ["small", "smallest"], ["image", "by image"]];
    const [orderLabel, order] = select("order", orders, () => refresh());
    const sorts = { worst: (a, b) => a.oks - b.oks, best: (a, b) => b.oks - a.oks, score: (a, b) => (b.score ?? -1) - (a.score ?? -1), large: (a, b) => b.area - a.area, small: (a, b) => a.area - b.area, image: (a, b) => a.image - b.image };
    const layer = (name, text, key) => {
      const box = make("input", { type: "checkbox", checked: "", id: `layer-${name}`, onchange: () => document.body.classList.toggle(`hide-${name}`, !box.checked) });
      document.addEventListener("keydown", (event) => event.key === key && !event.target.closest("select, input") && box.click());
      return make("label", { title: `key ${key}` }, box, text);
    };
    const [heatLabel, heatPoint] = select("heatmap of", [["", "all points"], ...joints.map((p, k) => [k, p])], () => heats());
    const heats = () => {
      if (!document.body.classList.contains("show-heat")) return;
      document.querySelectorAll(".case svg, dialog svg").forEach((picture) => drawnCases.get(picture).heat && heat(picture, drawnCases.get(picture), heatPoint.value));
    };
    const heatBox = make("input", { type: "checkbox", id: "layer-heat", onchange: () => { document.body.classList.toggle("show-heat", heatBox.checked); heats(); } });
    document.addEventListener("keydown", (event) => event.key === "h" && data.cases.some((c) => c.heat) && !event.target.closest("select, input") && heatBox.click());
    const heatControls = data.cases.some((c) => c.heat) ? [make("label", { title: "key h" }, heatBox, "heatmaps (h)"), heatLabel] : [];
    const bad = (c, k) => c.kinds[k] && !["good", "unlabelled"].includes(c.kinds[k]);
    const fits = (c) => {
      if (group.value && !Object.entries(c.groups).some(([name, label]) => `${name}: ${label}` === group.value)) return false;
      if (joint.value !== "") return error.value ? c.kinds[joint.value] === error.value : bad(c, joint.value);
      return !error.value || c.errors.includes(error.value);
    };
    const list = make("div", { class: "cases" }), count = make("p", { class: "note", "aria-live": "polite" });
    const more = make("button", { type: "button", onclick: () => extend() }, "show more");
    const extend = () => {
      chosen.slice(shown, shown + page).forEach((c, n) => {
        const place = shown + n;
        list.append(make("button", { type: "button", class: "case", onclick: () => show(place) }, overlay(c), make("span", { class: "caption" }, caption(c))));
      });
      shown = Math.min(shown + page, chosen.length);
      more.hidden = shown === chosen.length;
      heats();
      count.textContent = `${shown} of ${chosen.length} cases shown; ${data.shown}.`;
    };
    const refresh = () => {
      chosen = data.cases.filter(fits).sort(sorts[order.value]);
      shown = 0;
      list.replaceChildren();
      extend();
    };
    const show = (place) => {
      open = (place + chosen.length) % chosen.length;
      const c = chosen[open], told = [`image ${c.image}`, c.id == null ? "" : `person ${c.id}`, `${c.area.toLocaleString()} square pixels`, ...Object.values(c.groups)];
      const step = (by, text) => make("button", { type: "button", onclick: () => show(open + by) }, text);
      const close = make("button", { type: "button", onclick: () => zoom.close() }, "close");
      const which = heatPoint.cloneNode(true), heatKey = make("button", { type: "button", onclick: () => heatBox.click() }, "heatmaps (h)");
      which.value = heatPoint.value;
      which.addEventListener("change", () => { heatPoint.value = which.value; heats(); });
      const looks = c.heat ? [heatKey, which] : heatControls.length ? [make("span", { class: "note" }, "no heatmaps of this case")] : [];
      zoom.replaceChildren(overlay(c, true), make("p", {}, caption(c)), make("p", { class: "note" }, told.filter(Boolean).join(" · ")), make("div", { class: "controls" }, step(-1, "← previous"), ...looks, close, step(1, "next →")));
      if (!zoom.open) zoom.showModal();
      heats();
    };
    zoom.addEventListener("keydown", (event) => {
      if (event.target.closest("select")) return;
      if (event.key === "ArrowLeft") show(open - 1);
      if (event.key === "ArrowRight") show(open + 1);
    });
    const layers = [layer("found", "prediction: discs, solid lines (p)", "p"), layer("truth", "annotation: rings, dashed lines (a)", "a")];
    section("Gallery", make("div", { class: "controls" }, errorLabel, jointLabel, groupLabel, orderLabel), make("div", { class: "controls" }, ...layers, ...heatControls), count, list, make("p", {}, more));
    refresh();
  };

  const theme = (name) => {
    root.dataset.theme = name;
    drawn.forEach((entry) => entry.plot?.redraw(false));
    document.querySelectorAll(".skeleton").forEach((old) => old.parentElement.replaceWith(skeleton(data.skeleton)));
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));

  if (data.metrics.length) section("Metrics", table(data.metrics), ...data.about.map((line) => make("p", { class: "note" }, line)));
  if (data.losses.length) section("Where it is lost", make("p", { class: "note" }, data.losses[0]), make("ul", { class: "losses" }, ...data.losses.slice(1).map((line) => make("li", {}, line.trim()))));
  if (data.curves.length) section("Training", charts(data.curves));
  if (data.charts.length) section("Curves", charts(data.charts));
  if (data.skeleton) section("Errors", make("div", { class: "side" }, skeleton(data.skeleton), make("div", {}, table(data.errors), make("p", { class: "note" }, "Added: by mending each kind after those above it. Alone: by mending nothing else."), ...Object.values(data.groups).map((rows) => make("div", {}, make("h3", {}, rows[0][0]), table(rows))))));
  if (data.cases.length) gallery();
  if (data.settings) section("Settings", make("pre", { tabindex: 0 }, data.settings));
  drawn.forEach(plot);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) drawn.forEach((entry) => entry.plot.setSize({ width: Math.max(entry.place.clientWidth, 200), height: 230 }));
    width = innerWidth;
  });
})();
