"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const runs = data.runs;
  const main = document.getElementById("main");
  const links = document.getElementById("links");
  const several = runs.length > 1;

  const setTheme = theme => {
    document.documentElement.dataset.theme = theme;
    document.getElementById("theme").textContent = theme === "dark" ? "Light" : "Dark";
  };
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

  // ---- elements

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) made.setAttribute(key, value);
    for (const child of children.flat()) if (child !== null && child !== undefined) made.append(child);
    return made;
  };
  const number = value => {
    if (value === null || value === undefined) return "-";
    if (typeof value === "string") return value;
    if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(3) : value.toPrecision(5).replace(/\.?0+$/, "");
  };
  const tick = value => {
    if (value === null) return "";
    const short = Number(value.toPrecision(4)), size = Math.abs(short);
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? short.toExponential() : String(short);
  };
  const seconds = value => value >= 3600 ? `${(value / 3600).toFixed(2)} h` : value >= 60 ? `${(value / 60).toFixed(1)} min` : value >= 1 ? `${value.toFixed(2)} s` : `${(value * 1e3).toFixed(2)} ms`;
  const bytes = value => value >= 1 << 30 ? `${(value / (1 << 30)).toFixed(2)} GiB` : value >= 1 << 20 ? `${(value / (1 << 20)).toFixed(1)} MiB` : `${(value / 1024).toFixed(1)} KiB`;
  const table = (head, rows, numeric = []) => element("div", { class: "scroll" }, element("table", {},
    element("thead", {}, element("tr", {}, head.map((text, index) => element("th", { class: numeric.includes(index) ? "n" : null, scope: "col" }, text)))),
    element("tbody", {}, rows.map(row => element("tr", {}, row.map((cell, index) => element("td", { class: numeric.includes(index) ? "n" : null }, cell instanceof Node ? cell : String(cell ?? "-"))))))));
  const section = (id, title) => {
    links.append(element("a", { href: `#${id}` }, title), " ");
    const made = element("section", { id, "aria-labelledby": `${id}-title` }, element("h2", { id: `${id}-title` }, title));
    main.append(made);
    return made;
  };
  // Eight runs have the colours of the page; more of them share the circle of hues.
  const isDark = () => document.documentElement.dataset.theme === "dark";
  const hue = index => `hsl(${Math.round(360 * index / runs.length)} ${isDark() ? "75% 62%" : "80% 38%"})`;
  const color = index => runs.length > 8 ? hue(index) : `var(--c${index % 8})`;
  const resolved = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const runName = run => run.id;
  const drawnColor = index => runs.length > 8 ? hue(index) : resolved(`--c${index % 8}`);
  const key = index => element("i", { class: "key", "data-run": index, style: `background: ${color(index)}`, "aria-hidden": "true" });
  const moment = text => text ? element("span", { class: "short", title: text }, text.replace("T", " ").replace(/\.\d+Z$/, " UTC")) : "-";
  // Parts of several runs: open for one, folded for many, and one part for runs of which it is the same.
  const perRun = (parent, wanted, build) => {
    const groups = new Map();
    for (const run of runs) {
      const content = wanted(run);
      if (content === null || content === undefined) continue;
      const text = JSON.stringify(content);
      if (!groups.has(text)) groups.set(text, []);
      groups.get(text).push(run);
    }
    for (const group of groups.values()) {
      if (!several) { build(parent, group[0]); continue; }
      const title = group.length === runs.length ? "All runs" : group.map(runName).join(", ");
      const part = element("details", { class: "run", open: groups.size === 1 ? "" : null }, element("summary", {}, element("b", {}, title)));
      let built = false;
      const fill = () => { if (!built) { built = true; build(part, group[0]); } };
      if (part.open) fill(); else part.addEventListener("toggle", fill);
      parent.append(part);
    }
  };

  // ---- heading

  document.getElementById("title").textContent = several ? `${runs.length} runs` : runName(runs[0]);
  document.getElementById("subtitle").textContent = several ? runs.map(runName).join(", ") : runs[0].standing;
  document.title = several ? `${runs.length} runs - fluxbay` : `${runName(runs[0])} - fluxbay`;
  document.getElementById("footer").textContent = `Written by fluxbay ${data.version} on ${data.written}. Curves: uPlot (MIT licence).`;

  // ---- overview

  const overview = section("overview", "Overview");
  if (several) {
    const figures = [...new Set(runs.flatMap(run => run.figures.map(one => `${one.phase} ${one.name}`)))];
    const figure = (run, name) => {
      const one = run.figures.find(one => `${one.phase} ${one.name}` === name);
      return one ? number(one.best ?? one.last) : "-";
    };
    const numbers = ["epochs", ...figures];
    overview.append(table(["run", "standing", "started", ...numbers], runs.map((run, index) => [
      element("span", { class: "short" }, key(index), runName(run)), run.standing, moment(run.started), run.epoch ?? "-", ...figures.map(name => figure(run, name))]),
      numbers.map((_, index) => index + 3)));
    if (figures.length) overview.append(element("p", { class: "soft" }, "The figures are the best values by epoch, or the last ones where it is unknown which are better."));
  } else {
    const run = runs[0];
    const tiles = element("div", { class: "tiles" });
    const tile = (label, value, more) => tiles.append(element("div", { class: "card tile" }, element("span", { class: "soft" }, label), element("b", {}, value), element("span", { class: "soft" }, more ?? "")));
    for (const one of run.figures.slice(0, 8)) tile(`${one.phase} ${one.name}`, number(one.best ?? one.last), one.best !== null ? `best, in epoch ${one.best_epoch}; last ${number(one.last)}` : "last");
    tile("epochs", run.epoch ?? "-", run.resumed ? `resumed ${run.resumed} times` : "");
    if (run.profile && run.profile.seconds) tile("time", seconds(run.profile.seconds), "of the last process");
    if (run.peak_memory) tile("memory", bytes(run.peak_memory), "peak of the process");
    overview.append(tiles);
    if (run.reason) overview.append(element("p", { class: run.status === "failed" ? "bad" : "warn" }, `${run.standing}${run.by ? ` by ${run.by}` : ""}: ${run.reason}`));
  }
  for (const run of runs) for (const note of run.notes) overview.append(element("p", { class: "warn" }, `${runName(run)}: ${note}`));

  // ---- curves

  const smooth = (ys, share) => {
    if (share === 0) return ys;
    let mean = 0, weight = 0;
    return ys.map(y => {
      if (y === null || !Number.isFinite(y)) return y;
      mean = share * mean + (1 - share) * y;
      weight = share * weight + (1 - share);
      return mean / weight;
    });
  };
  const charts = [];
  const draw = chart => {
    const share = Number(document.getElementById("smooth").value) / 100;
    const log = document.getElementById("log").checked;
    const range = chart.plot ? chart.plot.scales.x : null;
    if (chart.plot) chart.plot.destroy();
    const lists = chart.series.map(one => [one.x, smooth(one.y.map(y => typeof y === "number" ? y : null), share).map(y => log && y !== null && y <= 0 ? null : y)]);
    const joined = uPlot.join(lists);
    const axis = { stroke: resolved("--soft"), grid: { stroke: resolved("--grid"), width: 1 }, ticks: { stroke: resolved("--grid"), width: 1 }, font: "12px system-ui, sans-serif" };
    chart.plot = new uPlot({
      width: Math.max(240, chart.place.clientWidth), height: 240,
      scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
      axes: [{ ...axis, label: chart.scope === "epoch" ? "epoch" : "step", labelSize: 20, labelFont: "12px system-ui, sans-serif" }, { ...axis, size: 62, values: (_, ticks) => ticks.map(tick) }],
      series: [{ label: chart.scope }, ...chart.series.map(one => ({
        label: one.label, stroke: one.isRun ? drawnColor(one.color) : resolved(`--c${one.color % 8}`), width: 1.6, dash: one.dash ? [6, 4] : undefined, spanGaps: true,
        points: { show: one.x.length <= 60 && chart.series.length <= 8, size: 5 }, value: (_, value) => value === null ? "-" : number(value) }))],
      cursor: { drag: { x: true, y: false }, focus: { prox: 24 } }, legend: { live: true },
    }, joined, chart.place);
    if (range && range.min !== null && chart.zoomed) chart.plot.setScale("x", { min: range.min, max: range.max });
  };
  const spoken = chart => `${chart.name} by ${chart.scope}. ` + chart.series.map(one => {
    const ys = one.y.filter(y => typeof y === "number");
    return ys.length ? `${one.label}: first ${number(ys[0])}, last ${number(ys[ys.length - 1])}, least ${number(ys.reduce((a, b) => Math.min(a, b)))}, greatest ${number(ys.reduce((a, b) => Math.max(a, b)))}` : `${one.label}: no numbers`;
  }).join("; ");
  const keyboard = (chart, event) => {
    const plot = chart.plot, x = plot.scales.x, xs = plot.data[0];
    if (!xs.length) return;
    const width = x.max - x.min, index = plot.cursor.idx ?? Math.floor(xs.length / 2);
    const to = place => plot.setCursor({ left: plot.valToPos(xs[Math.max(0, Math.min(xs.length - 1, place))], "x"), top: 10 });
    const zoom = (min, max) => { chart.zoomed = true; plot.setScale("x", { min, max }); };
    const actions = {
      ArrowLeft: () => to(index - 1), ArrowRight: () => to(index + 1), Home: () => to(0), End: () => to(xs.length - 1),
      "+": () => zoom(x.min + width / 4, x.max - width / 4), "-": () => zoom(x.min - width / 2, x.max + width / 2),
      "0": () => { chart.zoomed = false; plot.setScale("x", { min: xs[0], max: xs[xs.length - 1] }); },
    };
    if (actions[event.key]) { actions[event.key](); event.preventDefault(); }
  };
  const addCharts = (parent, scope, wanted) => {
    const names = new Map();
    runs.forEach((run, runIndex) => run.series.filter(one => one.scope === scope && wanted(one)).forEach(one => {
      if (!names.has(one.name)) names.set(one.name, []);
      names.get(one.name).push({ ...one, run: runIndex });
    }));
    const grid = element("div", { class: "charts" });
    for (const [name, list] of names) {
      const phases = [...new Set(list.map(one => one.phase))];
      const chart = { name, scope, series: list.map(one => ({
        x: one.x, y: one.y, label: several ? `${runName(runs[one.run])} ${one.phase}` : one.phase || name,
        isRun: several, color: several ? one.run : phases.indexOf(one.phase), dash: several && phases.indexOf(one.phase) > 0 })) };
      chart.place = element("div", { class: "plot", tabindex: "0", role: "img", "aria-label": spoken(chart) });
      chart.place.addEventListener("keydown", event => keyboard(chart, event));
      chart.place.addEventListener("dblclick", () => { chart.zoomed = false; });
      chart.place.addEventListener("mouseup", () => { chart.zoomed = true; });
      const thinned = list.filter(one => one.thinned);
      const counts = [...new Set(thinned.map(one => `${one.count} values as ${one.x.length} points`))];
      const note = thinned.length ? `Thinned: of each range of steps the least and the greatest value are drawn (${counts.length > 3 ? `up to ${Math.max(...thinned.map(one => one.count))} values as ${Math.max(...thinned.map(one => one.x.length))} points` : counts.join(", ")}).` : null;
      const details = element("details", {}, element("summary", {}, "Table"));
      details.addEventListener("toggle", () => {
        if (!details.open || details.children.length > 1) return;
        const joined = uPlot.join(chart.series.map(one => [one.x, one.y]));
        details.append(table([scope, ...chart.series.map(one => one.label)], joined[0].map((x, row) => [x, ...joined.slice(1).map(ys => number(ys[row]))]), chart.series.map((_, index) => index + 1)));
      });
      grid.append(element("figure", {}, element("figcaption", {}, element("h3", {}, name, " ", element("span", { class: "soft" }, `by ${scope}`))), chart.place,
        note ? element("div", { class: "soft" }, note) : null, details));
      charts.push(chart);
    }
    if (names.size) parent.append(grid);
    return names.size;
  };
  const isHyper = one => one.kind === "hyper-parameter";
  const epochs = section("epochs", "By epoch");
  if (!addCharts(epochs, "epoch", one => !isHyper(one))) epochs.append(element("p", { class: "soft" }, "No epoch has ended yet."));
  const steps = section("steps", "By step");
  if (!addCharts(steps, "step", one => !isHyper(one))) steps.append(element("p", { class: "soft" }, "Nothing was recorded by step."));
  if (runs.some(run => run.series.some(isHyper))) addCharts(section("hyper", "Hyper-parameters"), "step", isHyper);

  // ---- classes

  const share = (part, whole) => whole > 0 ? part / whole : NaN;
  const perClass = matrix => matrix.map((row, index) => {
    const right = row[index], support = row.reduce((a, b) => a + b, 0), predicted = matrix.reduce((sum, other) => sum + other[index], 0);
    const precision = share(right, predicted), recall = share(right, support);
    return [index, support, predicted, precision, recall, share(2 * precision * recall, precision + recall)];
  });
  const matrixTable = (matrix, title) => {
    const most = Math.max(1, ...matrix.map(row => Math.max(0, ...row)));
    const cell = (value, row, column) => element("td", { class: "n", style: `background: color-mix(in srgb, var(${row === column ? "--c2" : "--c1"}) ${(70 * Math.sqrt(Math.max(0, value) / most)).toFixed(0)}%, transparent)` }, String(value));
    return element("div", { class: "scroll" }, element("table", { class: "matrix", "aria-label": title },
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "class \\ predicted"), ...matrix.map((_, column) => element("th", { scope: "col", class: "n" }, String(column))))),
      element("tbody", {}, ...matrix.map((row, index) => element("tr", {}, element("th", { scope: "row" }, String(index)), ...row.map((value, column) => cell(value, index, column)))))));
  };
  const isWorst = one => Array.isArray(one.details.samples);
  if (runs.some(run => run.details.some(one => !isWorst(one)))) {
    const classes = section("classes", "Classes");
    const ofClasses = run => run.details.filter(one => !isWorst(one));
    perRun(classes, run => ofClasses(run).length ? ofClasses(run) : null, (classes, run) => ofClasses(run).forEach(one => {
      const title = `${one.phase} ${one.metric}, epoch ${one.epoch}`;
      classes.append(element("h3", {}, title));
      const matrix = one.details.matrix;
      if (Array.isArray(matrix) && matrix.every(row => Array.isArray(row) && row.length === matrix.length)) {
        if (matrix.length <= 40) classes.append(matrixTable(matrix, title));
        const rows = perClass(matrix);
        const most = Math.max(0, ...matrix.flatMap((row, index) => row.filter((_, column) => column !== index)));
        classes.append(table(["class", "samples", "predicted", "precision", "recall", "F1"], rows.map(row => row.map((value, column) => column < 3 ? value : number(value))), [0, 1, 2, 3, 4, 5]));
        if (most > 0) {
          const confused = matrix.flatMap((row, from) => row.map((count, to) => [from, to, count])).filter(([from, to, count]) => from !== to && count > 0).sort((a, b) => b[2] - a[2]).slice(0, 10);
          classes.append(element("details", {}, element("summary", {}, "Most often confused"), table(["class", "predicted as", "samples"], confused, [0, 1, 2])));
        }
      } else if (Array.isArray(one.details.classes)) {
        classes.append(table(["class", one.metric], one.details.classes.map((value, index) => [index, number(value)]), [0, 1]));
      } else {
        classes.append(element("pre", { class: "scroll" }, JSON.stringify(one.details, null, 2)));
      }
    }));
  }

  // ---- worst samples

  const picture = (shape, pixels, text) => {
    const [height, width] = shape.slice(-2), channels = shape.length === 3 ? shape[0] : 1, size = height * width;
    const canvas = element("canvas", { width, height, role: "img", "aria-label": text, class: "sample" });
    const context = canvas.getContext("2d"), image = context.createImageData(width, height);
    for (let at = 0; at < size; at++) for (let channel = 0; channel < 4; channel++) image.data[4 * at + channel] = channel === 3 ? 255 : pixels[(channels === 3 ? channel : 0) * size + at];
    context.putImageData(image, 0, 0);
    return canvas;
  };
  if (runs.some(run => run.details.some(isWorst))) {
    const worst = section("worst", "Worst samples");
    worst.append(element("p", { class: "soft" }, "Samples of the last epoch with the highest loss. The number is the place in the epoch."));
    const ofWorst = run => run.details.filter(isWorst);
    perRun(worst, run => ofWorst(run).length ? ofWorst(run) : null, (worst, run) => ofWorst(run).forEach(one => {
      worst.append(element("h3", {}, `${one.phase}, epoch ${one.epoch}`));
      const grid = element("div", { class: "tiles" });
      for (const sample of one.details.samples) {
        const text = `sample ${sample.sample}: target ${sample.target}, predicted ${sample.predicted}, loss ${number(sample.loss)}`;
        grid.append(element("div", { class: "card" }, sample.pixels.length ? picture(sample.shape, sample.pixels, text) : null,
          element("div", {}, `target ${number(sample.target)}, predicted ${number(sample.predicted)}`), element("div", { class: "soft" }, `loss ${number(sample.loss)}, sample ${sample.sample}`)));
      }
      worst.append(grid);
    }));
  }

  // ---- spikes

  if (runs.some(run => run.spikes.length)) {
    const spikes = section("spikes", "Spikes of the loss");
    spikes.append(element("p", { class: "soft" }, "Steps whose training loss is more than 6 median absolute deviations above the median of the 200 steps before."));
    spikes.append(table([...(several ? ["run"] : []), "phase", "epoch", "step", "loss", "median before"], runs.flatMap(run => run.spikes.map(one => [...(several ? [runName(run)] : []), one.phase, one.epoch, one.step, number(one.value), number(one.median)])), several ? [2, 3, 4, 5] : [1, 2, 3, 4]));
  }

  // ---- time

  if (runs.some(run => run.profile)) {
    const time = section("time", "Time");
    time.append(element("p", { class: "soft" }, "Of the last process of each run. Times within steps are scaled up from the steps that were timed."));
    const bars = (head, rows) => {
      const most = Math.max(...rows.map(row => row.seconds), 1e-12);
      return table([...head, "time", "share"], rows.map(row => [...row.cells, seconds(row.seconds), element("div", { class: "bar", role: "img", "aria-label": `${(100 * row.seconds / most).toFixed(0)} % of the longest` }, element("i", { style: `width: ${(100 * row.seconds / most).toFixed(1)}%` }))]), [head.length]);
    };
    perRun(time, run => run.profile, (time, run) => {
      const phases = run.profile.phases ?? [], callbacks = run.profile.callbacks ?? [];
      const grid = element("div", { class: "charts" });
      grid.append(element("div", { class: "card" }, element("h3", {}, "By phase"), bars(["phase", "epochs", "steps"], phases.map(one => ({ cells: [one.phase, one.epochs, one.steps], seconds: one.seconds })))));
      const works = phases.flatMap(one => Object.entries(one.work ?? {}).filter(([name]) => name !== "step").map(([name, value]) => ({ cells: [one.phase, name], seconds: value })));
      if (works.length) grid.append(element("div", { class: "card" }, element("h3", {}, "By kind of work"), bars(["phase", "work"], works.sort((a, b) => b.seconds - a.seconds))));
      const sums = new Map();
      for (const one of callbacks) sums.set(one.callback, (sums.get(one.callback) ?? 0) + one.seconds);
      if (sums.size) grid.append(element("div", { class: "card" }, element("h3", {}, "By callback"), bars(["callback"], [...sums].map(([name, value]) => ({ cells: [name], seconds: value })).sort((a, b) => b.seconds - a.seconds))));
      time.append(grid);
    });
  }

  // ---- loop

  if (runs.some(run => run.composition)) {
    const loop = section("loop", "Loop");
    perRun(loop, run => run.composition, (loop, run) => {
      const composition = run.composition;
      loop.append(element("p", {}, "Callbacks in their order: ", element("code", {}, composition.order.join(", "))));
      const numbers = new Map(composition.events.map(event => [event.name, event.number]));
      const grid = element("div", { class: "charts" });
      for (const phase of composition.phases) {
        const events = Object.entries(phase.callbacks).filter(([event]) => !event.startsWith("fit-")).sort((a, b) => numbers.get(a[0]) - numbers.get(b[0]));
        grid.append(element("div", { class: "card" }, element("h3", {}, `${phase.id} (${phase.data} data)`),
          events.length ? table(["event", "callbacks, in the order of their calls"], events.map(([event, callbacks]) => [element("code", {}, event), callbacks.join(", ")])) : element("p", { class: "soft" }, "No callback handles its events.")));
      }
      const outside = composition.events.filter(event => event.name.startsWith("fit-") || event.name === "error").filter(event => event.callbacks.length);
      if (outside.length) grid.append(element("div", { class: "card" }, element("h3", {}, "Outside of phases"), table(["event", "callbacks"], outside.map(event => [element("code", {}, event.name), event.callbacks.join(", ")]))));
      loop.append(grid);
      if (composition.edges.length) loop.append(element("details", {}, element("summary", {}, "Why this order"), table(["first", "then", "because"], composition.edges.map(edge => [edge.before, edge.after, edge.reasons.join("; ")]))));
    });
  }

  // ---- configuration

  const configuration = section("configuration", "Configuration");
  if (several) {
    const keys = [...new Set(runs.flatMap(run => run.configuration.map(one => one[0])))];
    const maps = runs.map(run => new Map(run.configuration));
    const differing = keys.filter(name => new Set(maps.map(map => map.get(name))).size > 1);
    const rows = names => names.map(name => [element("code", {}, name), ...maps.map(map => element("code", {}, map.get(name) ?? "-"))]);
    configuration.append(element("h3", {}, "Differences"), differing.length ? table(["key", ...runs.map(runName)], rows(differing)) : element("p", { class: "soft" }, "The configurations are equal."));
    configuration.append(element("details", {}, element("summary", {}, "All settings"), table(["key", ...runs.map(runName)], rows(keys))));
  } else {
    configuration.append(table(["key", "value", "given"], runs[0].configuration.map(one => [element("code", {}, one[0]), element("code", {}, one[1]), one[2]])));
  }

  // ---- plugins, checkpoints, events, environment

  const plugins = section("plugins", "Plugins");
  perRun(plugins, run => run.plugins, (plugins, run) => {
    plugins.append(table(["plugin", "version", "SHA-256"], run.plugins.map(one => [one.name, one.version, element("code", {}, one.sha256)])));
  });
  const record = section("record", "Record");
  perRun(record, run => [run.id, run.events], (record, run) => {
    if (run.checkpoints.length) record.append(element("h3", {}, "Checkpoints"), table(["checkpoint", "after epochs", "problem"], run.checkpoints.map(one => [element("code", {}, one.path), one.epochs ?? "-", one.problem ?? ""]), [1]));
    if (run.events.length) record.append(element("details", { open: run.resumed ? "" : null }, element("summary", {}, `Events (${run.event_count})`), table(["time", "event", "details"], run.events.map(one => [one.time, one.event, element("code", {}, one.details)]))));
    record.append(element("details", {}, element("summary", {}, "Environment"), table(["", ""], Object.entries(run.environment).map(([name, value]) => [name, Array.isArray(value) ? value.join(" ") : String(value)]))));
  });

  // ---- controls

  const redraw = () => charts.forEach(chart => chart.plot && draw(chart));
  document.getElementById("theme").addEventListener("click", () => {
    setTheme(isDark() ? "light" : "dark");
    document.querySelectorAll("[data-run]").forEach(key => { key.style.background = color(Number(key.dataset.run)); });
    redraw();
  });
  document.getElementById("log").addEventListener("change", redraw);
  document.getElementById("smooth").addEventListener("input", event => {
    document.getElementById("smooth-value").textContent = event.target.value === "0" ? "off" : (event.target.value / 100).toFixed(2);
    redraw();
  });
  let pending = 0;
  addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(() => charts.forEach(chart => chart.plot && chart.plot.setSize({ width: Math.max(240, chart.place.clientWidth), height: 240 }))); });
  // Charts are drawn when they come into view, so that many of them do not delay the first paint.
  const observer = new IntersectionObserver(entries => entries.forEach(entry => {
    if (!entry.isIntersecting) return;
    const chart = charts.find(one => one.place === entry.target);
    observer.unobserve(entry.target);
    if (chart && !chart.plot) draw(chart);
  }), { rootMargin: "400px" });
  charts.forEach(chart => { chart.place.style.minHeight = "240px"; observer.observe(chart.place); });
  // Paper is white, and as wide as it is; all parts are open on it, and as they were afterwards.
  let beforePrint = null;
  const columns = () => charts.forEach(chart => chart.plot && chart.plot.setSize({ width: Math.max(240, chart.place.clientWidth), height: 240 }));
  addEventListener("beforeprint", () => {
    beforePrint = isDark() ? "dark" : "light";
    setTheme("light");
    charts.forEach(chart => draw(chart));
  });
  addEventListener("afterprint", () => {
    if (beforePrint === "dark") { setTheme("dark"); redraw(); }
    columns();
  });
})();
