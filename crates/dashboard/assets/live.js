// Numbers and charts that move while limits decide. A page shows what was so when it was asked for without this.

const area = document.querySelector("[data-live]");
if (area) show(area);
const strip = document.querySelector("[data-shards]");
if (strip) showShards(strip);

/** Where a number of the page is told from, and how. */
const NUMBERS = {
  allowed: (sample) => sample.allowed,
  denied: (sample) => sample.denied,
  p50: (sample) => micros(sample.p50_us),
  p99: (sample) => micros(sample.p99_us),
};

function show(area) {
  const base = area.dataset.live;
  const charts = [...area.querySelectorAll("[data-chart]")].map((place) => chart(base, place));
  const missing = [];
  area.hidden = false;
  watch(base, (event) => {
    if (event.kind === "sample") {
      note(missing, event.data);
      showSample(area, event.data);
      for (const chart of charts) chart.onSample(event.data, missing);
    } else if (event.kind === "notice") {
      showNotice(area, event.data);
    } else if (event.kind === "series") {
      for (const chart of charts) chart.load();
    }
    if (event.state) say(area, event.state);
  });
}

/** Who has not told of which seconds: their part of a chart is missing there. */
function note(missing, sample) {
  const names = sample.missing.join(", ");
  const last = missing.at(-1);
  if (last && last.names === names && sample.at - last.to <= 2) last.to = sample.at;
  else if (names) missing.push({ from: sample.at - 1, to: sample.at, names });
  if (missing.length > 100) missing.shift();
}

function showSample(area, sample) {
  for (const place of area.querySelectorAll("[data-now]")) {
    const one = place.dataset.limit;
    const [allowed, denied] = (one && sample.limits[one]) || [0, 0];
    const of = one ? { ...sample, allowed, denied } : sample;
    place.textContent = NUMBERS[place.dataset.now](of);
  }
  for (const place of document.querySelectorAll("[data-rate]")) {
    const [allowed, denied] = sample.limits[place.dataset.rate] || [0, 0];
    place.textContent = `${allowed + denied}/s`;
  }
  const whole = sample.from === sample.of;
  say(area, whole ? `live, ${sample.of} of ${sample.of} nodes` : `live, without ${sample.missing.join(", ")}`);
  if (!sample.today) return;
  const { requests, denied, cap } = sample.today;
  for (const place of document.querySelectorAll("[data-requests]")) {
    place.textContent = grouped(requests);
  }
  for (const place of document.querySelectorAll("[data-denied]")) {
    place.textContent = grouped(denied);
  }
  const fill = document.querySelector(".meter .fill");
  if (fill && cap) fill.setAttribute("width", Math.min(1000, Math.floor((requests * 1000) / cap)));
  // What a newcomer is to do is done.
  const begin = document.querySelector("[data-until-first]");
  if (begin && requests > 0) begin.hidden = true;
}

function say(area, text) {
  const line = area.querySelector("[data-state]");
  if (line && line.textContent !== text) line.textContent = text;
}

function showNotice(area, notice) {
  const place = area.querySelector("[data-notices]");
  if (!place || notice.kind !== "used") return;
  const line = document.createElement("p");
  line.className = notice.percent < 100 ? "notice warn" : "notice bad";
  line.textContent = notice.percent < 100
    ? `${notice.percent} % of this day's requests are used.`
    : "All requests of this day are used. More pass from 00:00 UTC on, or with a larger plan.";
  place.replaceChildren(line);
}

const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");

function micros(count) {
  if (count < 1000) return `${count} µs`;
  return count < 100_000 ? `${(count / 1000).toFixed(1)} ms` : `${Math.round(count / 1000)} ms`;
}

// ---- One stream for all tabs of a browser

/** Calls `on` with what happens in a tenant. One tab asks for it and tells the others: a browser has six connections to a host. */
function watch(base, on) {
  const name = `weir ${base}`;
  if (!navigator.locks || !window.BroadcastChannel) {
    let stop = null;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden && stop) stop = stop();
      else if (!document.hidden && !stop) stop = lead(base, on);
    });
    if (!document.hidden) stop = lead(base, on);
    return;
  }
  const channel = new BroadcastChannel(name);
  channel.addEventListener("message", (event) => on(event.data));
  navigator.locks.request(name, () => {
    const stop = lead(base, (event) => {
      channel.postMessage(event);
      on(event);
    });
    // Held until this tab is closed; a page that the browser keeps for "back" lets another tab go on.
    return new Promise((resolve) => addEventListener("pagehide", () => resolve(stop()), { once: true }));
  });
}

/** Asks for the stream again and again, first after half a second, at last every five, and for pictures where it is refused. */
function lead(base, on) {
  let pause = 500;
  let source = null;
  let timer = null;
  const lost = async (state, isRefused = false) => {
    source?.close();
    source = null;
    // Where a stream is refused, pictures are asked for in its place; else the next one begins with them.
    on({ kind: isRefused ? "series" : "state", state });
    const known = await fetch(`${base}/series`).catch(() => null);
    // Whoever may not see it any more is led to where he can log in.
    if (known && (known.redirected || known.status === 404)) return location.reload();
    timer = setTimeout(open, pause * (0.75 + Math.random() / 2));
    pause = Math.min(pause * 2, 5000);
  };
  const open = () => {
    source = new EventSource(`${base}/live`);
    source.addEventListener("open", () => {
      pause = 500;
      on({ kind: "series" });
    });
    source.addEventListener("sample", (event) => on({ kind: "sample", data: JSON.parse(event.data) }));
    source.addEventListener("notice", (event) => on({ kind: "notice", data: JSON.parse(event.data) }));
    source.addEventListener("bye", () => lost("reconnecting"));
    source.addEventListener("error", () => {
      // A browser gives up on what is no stream: there are too many already.
      const isRefused = source?.readyState === EventSource.CLOSED;
      if (isRefused) pause = 5000;
      lost(isRefused ? "every 5 s" : "reconnecting", isRefused);
    });
  };
  open();
  return () => {
    clearTimeout(timer);
    source?.close();
    return null;
  };
}

// ---- Who owns which shard

/** Shards as they are each second, and for five seconds those that have gone to another owner or term. */
function showShards(strip) {
  let known = null;
  const moved = new Map();
  const look = async () => {
    const answer = document.hidden ? null : await fetch(strip.dataset.shards).catch(() => null);
    if (answer?.redirected) return location.reload();
    if (answer?.ok) draw(await answer.json());
    setTimeout(look, 1000);
  };
  const draw = (shards) => {
    const { members, owner, term } = shards;
    const now = Date.now();
    owner.forEach((place, shard) => {
      const holds = `${members[place]} ${term[shard]}`;
      if (known && known[shard] !== holds) moved.set(shard, now);
    });
    known = owner.map((place, shard) => `${members[place]} ${term[shard]}`);
    for (const [shard, at] of moved) if (at + 5000 < now) moved.delete(shard);
    for (const part of strip.querySelectorAll("[data-member]")) {
      const place = members.indexOf(part.dataset.member);
      const owned = owner.flatMap((other, shard) => (other === place ? [shard] : []));
      part.setAttribute("d", cells(owned, 0, 24));
      const count = document.querySelector(`[data-owned="${CSS.escape(part.dataset.member)}"]`);
      if (count) count.textContent = owned.length;
    }
    strip.querySelector(".moved").setAttribute("d", cells([...moved.keys()], 18, 6));
    document.querySelector("[data-moved]").textContent = moved.size ? `${moved.size} moved in the last 5 s` : "";
  };
  look();
}

const cells = (shards, top, height) => shards.map((shard) => `M${shard} ${top}h1v${height}h-1z`).join("");

// ---- Charts

function chart(base, place) {
  const limit = place.dataset.limit;
  const [box, table] = ["plot", "rows"].map((name) => place.querySelector(`[data-${name}]`));
  const choices = [...place.querySelectorAll("[data-window]")];
  let span = "10m";
  let rows = [[], [], []];
  let gaps = [];
  let plot = null;

  const draw = () => {
    plot?.setData(rows);
    if (!table.hidden) fill(table, rows);
  };
  const load = async () => {
    const query = new URLSearchParams({ window: span });
    if (limit) query.set("limit", limit);
    const answer = await fetch(`${base}/series?${query}`).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    const told = await answer.json();
    if (told.window !== span) return;
    rows = [told.at, told.allowed, told.denied];
    plot ??= make(box, rows, () => gaps);
    draw();
  };
  const onSample = (sample, missing) => {
    gaps = missing;
    if (span !== "10m" || rows[0].length === 0) return;
    const [allowed, denied] = limit ? sample.limits[limit] || [0, 0] : [sample.allowed, sample.denied];
    const last = rows[0].at(-1);
    if (sample.at <= last) return;
    rows = rows.map((column, place) => [...column.slice(1), [sample.at, allowed, denied][place]]);
    draw();
  };
  for (const choice of choices) {
    choice.addEventListener("click", () => {
      span = choice.dataset.window;
      for (const other of choices) other.setAttribute("aria-pressed", String(other === choice));
      load();
    });
  }
  const asTable = place.querySelector("[data-as-table]");
  asTable?.addEventListener("click", () => {
    table.hidden = !table.hidden;
    asTable.setAttribute("aria-expanded", String(!table.hidden));
    draw();
  });
  setInterval(() => span !== "10m" && load(), 60_000);
  load();
  return { load, onSample };
}

/** What a chart shows, newest first, without what nothing happened in. */
function fill(table, [at, allowed, denied]) {
  const lines = [];
  for (let place = at.length - 1; place >= 0 && lines.length < 100; place -= 1) {
    if (allowed[place] + denied[place] === 0) continue;
    const line = document.createElement("tr");
    const when = new Date(at[place] * 1000).toLocaleString();
    for (const text of [when, allowed[place], denied[place]]) {
      line.append(Object.assign(document.createElement("td"), { textContent: text }));
    }
    lines.push(line);
  }
  table.querySelector("tbody").replaceChildren(...lines);
}

function make(box, rows, gaps) {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = () => ({ stroke: () => colour("--soft"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" });
  const series = (label, name, dash) => ({ label, stroke: () => colour(name), width: 1.5, dash, points: { show: false } });
  const options = {
    width: box.clientWidth,
    height: 180,
    cursor: { sync: { key: "weir" } },
    axes: [{ ...axis(), values: (plot, at) => at.map((at) => when(at, plot.data[0])), space: 80 }, { ...axis(), size: 48 }],
    scales: { y: { range: (plot, low, high) => [0, Math.max(1, high * 1.1)] } },
    series: [{ label: "at", value: (plot, at) => (at === null ? "–" : new Date(at * 1000).toLocaleString()) }, series("allowed", "--accent"), series("denied", "--bad", [5, 3])],
    hooks: { drawClear: [(plot) => hatch(plot, gaps(), colour("--line"), colour("--soft"))] },
  };
  const plot = new uPlot(options, rows, box);
  new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: 180 })).observe(box);
  // Its colours are those of the theme.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());
  return plot;
}

/** A time of the axis: with its day where the chart goes back more than one. */
function when(at, [first, ...rest]) {
  const days = ((rest.at(-1) ?? first) - first) / 86_400;
  const format = days > 2 ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return new Date(at * 1000).toLocaleString([], format);
}

/** Where a node has not told what it decided. */
function hatch(plot, gaps, line, text) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const gap of gaps) {
    const [from, to] = [gap.from, gap.to].map((at) => plot.valToPos(at, "x", true));
    if (to < bbox.left || bbox.left + bbox.width < from) continue;
    ctx.save();
    ctx.beginPath();
    ctx.rect(from, bbox.top, to - from, bbox.height);
    ctx.clip();
    ctx.strokeStyle = line;
    ctx.beginPath();
    for (let x = from - bbox.height; x < to; x += 8) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
    ctx.fillStyle = text;
    ctx.fillText(`without ${gap.names}`, Math.max(from, bbox.left) + 4, bbox.top + 14);
  }
  ctx.restore();
}
