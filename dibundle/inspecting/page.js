"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { operations, layers, op, layer, path, size, old, stored, rest } = data;
  const ROW = 26, SPARE = 20, PRINTED = 1000;
  const $ = (id) => document.getElementById(id);
  const number = new Intl.NumberFormat("en");
  const lower = path.map((text) => text.toLowerCase());

  // What is shown lives in the address after the #, so that a view can be kept, sent and tested.
  const state = { q: "", op: "", sort: "stored", order: "desc", by: "folder", at: [] };
  const SORTS = { operation: op, path, layer, old, size, stored };
  function read() {
    const given = new URLSearchParams(location.hash.slice(1));
    const choice = (key, allowed, otherwise) => (allowed.includes(given.get(key)) ? given.get(key) : otherwise);
    state.q = given.get("q") || "";
    state.op = choice("op", operations, "");
    state.sort = choice("sort", Object.keys(SORTS), "stored");
    state.order = choice("order", ["asc", "desc"], "desc");
    state.by = choice("by", ["layer", "folder", "type"], "folder");
    state.at = given.getAll("at");
  }
  function write(change) {
    Object.assign(state, change);
    const told = new URLSearchParams();
    if (state.q) told.set("q", state.q);
    if (state.op) told.set("op", state.op);
    if (state.sort !== "stored") told.set("sort", state.sort);
    if (state.order !== "desc") told.set("order", state.order);
    if (state.by !== "folder") told.set("by", state.by);
    state.at.forEach((name) => told.append("at", name));
    history.replaceState(null, "", "#" + told);
    show(change);
  }

  function make(tag, name, text) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  }
  function human(bytes) {
    if (bytes < 10000) return number.format(bytes) + (bytes === 1 ? " byte" : " bytes");
    let value = bytes, unit = -1;
    while (value >= 1000 && unit < 3) { value /= 1000; unit += 1; }
    return value.toFixed(value < 10 ? 1 : 0) + " " + ["kB", "MB", "GB", "TB"][unit];
  }

  // The list: only the rows that can be seen are in the page.
  const box = $("rows"), head = box.querySelector("thead tr"), body = box.querySelector("tbody");
  const COLUMNS = [
    ["operation", "Operation", "op"], ["path", "Path", "path"], ["layer", "Layer", "layer"],
    ["old", "Old size", "number was"], ["size", "Size", "number"], ["stored", "Stored", "number"],
  ];
  let chosen = [], printing = false;
  for (const [key, title, name] of COLUMNS) {
    const cell = make("th", name === "path" ? "" : name);
    const button = make("button", "", title);
    cell.scope = "col";
    cell.dataset.key = key;
    button.type = "button";
    button.addEventListener("click", () => {
      const first = key === "path" || key === "operation" || key === "layer" ? "asc" : "desc";
      const other = state.order === "asc" ? "desc" : "asc";
      write({ sort: key, order: state.sort === key ? other : first });
    });
    cell.append(button);
    head.append(cell);
  }
  function choose() {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = state.op ? operations.indexOf(state.op) : -1;
    const values = SORTS[state.sort], sign = state.order === "asc" ? 1 : -1;
    chosen = [];
    for (let i = 0; i < path.length; i += 1) {
      if ((wanted < 0 || op[i] === wanted) && words.every((word) => lower[i].includes(word))) chosen.push(i);
    }
    chosen.sort((a, b) => {
      const x = values[a], y = values[b];
      return (x < y ? -sign : x > y ? sign : 0) || a - b;  // null, what is not known, counts as 0
    });
    let sum = 0;
    for (const i of chosen) sum += stored[i];
    $("count").textContent = `${number.format(chosen.length)} of ${number.format(path.length)}, ${human(sum)} stored`;
    box.querySelector("table").setAttribute("aria-rowcount", chosen.length + 1);
    for (const cell of head.cells) {
      const sorted = cell.dataset.key === state.sort;
      if (sorted) cell.setAttribute("aria-sort", state.order === "asc" ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    }
    draw();
  }
  function gap(count) {
    const row = make("tr", "gap"), cell = make("td");
    row.setAttribute("aria-hidden", "true");
    cell.style.height = count * ROW + "px";
    row.append(cell);
    return row;
  }
  function line(i, place) {
    const row = make("tr");
    row.setAttribute("aria-rowindex", place + 2);
    const cut = path[i].lastIndexOf("/", path[i].length - 2) + 1;
    const told = make("td", "path"), both = make("div");
    both.append(make("span", "dir", path[i].slice(0, cut)), make("span", "file", path[i].slice(cut)));
    told.title = path[i];
    told.append(both);
    const count = (value, name) => make("td", "number" + name, value === null ? "" : number.format(value));
    row.append(make("td", "op", operations[op[i]]), told, make("td", "layer", layers[layer[i]]));
    row.append(count(old[i], " was"), count(size[i], ""), count(stored[i], ""));
    return row;
  }
  let shown = "";
  function draw() {
    const all = printing ? Math.min(chosen.length, PRINTED) : chosen.length;
    const first = printing ? 0 : Math.max(0, Math.min(Math.floor(box.scrollTop / ROW), all) - SPARE);
    const last = printing ? all : Math.min(all, first + Math.ceil(Math.max(box.clientHeight, 550) / ROW) + 2 * SPARE);
    const rows = [];
    if (first) rows.push(gap(first));
    for (let at = first; at < last; at += 1) rows.push(line(chosen[at], at));
    if (last < all) rows.push(gap(all - last));
    body.replaceChildren(...rows);
    shown = first + "-" + last;
    if (printing && all < chosen.length) {
      const row = make("tr"), cell = make("td", "none", `the first ${number.format(all)} of ${number.format(chosen.length)}`);
      cell.colSpan = COLUMNS.length;
      row.append(cell);
      body.append(row);
    }
  }
  box.addEventListener("scroll", () => {
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
    if (Math.abs(first - parseInt(shown, 10)) >= SPARE / 2 || !shown) requestAnimationFrame(draw);
  }, { passive: true });

  // The map: areas as square as they can be (Bruls, Huizing and van Wijk, 2000).
  function typeOf(text) {
    const name = text.slice(text.lastIndexOf("/") + 1);
    if (/\.so(\.|$)/.test(name)) return ".so";
    const found = /[^.](\.[A-Za-z0-9_+-]{1,8})$/.exec(name);
    return found ? found[1].toLowerCase() : "no extension";
  }
  const trees = {};
  function tree(by) {
    if (trees[by]) return trees[by];
    const root = { name: "all", bytes: 0, kids: new Map(), row: -1 };
    const add = (names, bytes, row) => {
      let node = root;
      node.bytes += bytes;
      for (const name of names) {
        let next = node.kids.get(name);
        if (!next) node.kids.set(name, (next = { name, bytes: 0, kids: new Map(), row: -1 }));
        node = next;
        node.bytes += bytes;
      }
      node.row = row;
    };
    for (let i = 0; i < path.length; i += 1) {
      if (!stored[i]) continue;
      const parts = path[i].split("/").filter(Boolean);
      if (by === "layer") parts.unshift(layers[layer[i]]);
      if (by === "type") parts.unshift(typeOf(path[i]));
      add(parts, stored[i], i);
    }
    for (const [name, bytes] of rest) if (bytes) add([name], bytes, -1);
    return (trees[by] = root);
  }
  function kids(node) {
    return [...node.kids.values()].sort((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1));
  }
  function single(node) {  // a folder that holds a folder alone is one with it
    const names = [node.name];
    while (node.kids.size === 1) {
      const [next] = node.kids.values();
      if (!next.kids.size) break;
      names.push(next.name);
      node = next;
    }
    return [names, node];
  }
  function squares(items, x, y, w, h) {
    const total = items.reduce((sum, item) => sum + item.bytes, 0), placed = [];
    const scale = total ? (w * h) / total : 0;
    const worst = (least, most, sum, side) => Math.max((side * side * most) / (sum * sum), (sum * sum) / (side * side * least));
    let at = 0;
    while (at < items.length) {
      const side = Math.min(w, h);
      let sum = items[at].bytes * scale, end = at + 1;
      const most = sum;
      if (side <= 0 || sum <= 0) break;
      let ratio = worst(most, most, sum, side);
      while (end < items.length) {
        const area = items[end].bytes * scale, next = worst(area, most, sum + area, side);
        if (next > ratio) break;
        ratio = next;
        sum += area;
        end += 1;
      }
      const thick = sum / side;
      let along = 0;
      for (; at < end; at += 1) {
        const long = (items[at].bytes * scale) / thick;
        placed.push(w >= h ? [items[at], x, y + along, thick, long] : [items[at], x + along, y, long, thick]);
        along += long;
      }
      if (w >= h) { x += thick; w -= thick; } else { y += thick; h -= thick; }
    }
    return placed;
  }
  function few(items, w, h) {  // what would be too small to see is one area
    const total = items.reduce((sum, item) => sum + item.bytes, 0);
    const cut = items.findIndex((item, i) => i >= 30 || (item.bytes * w * h) / total < 250);
    if (cut < 0 || cut >= items.length - 1) return items;
    const bytes = items.slice(cut).reduce((sum, item) => sum + item.bytes, 0);
    return [...items.slice(0, cut), { name: `${number.format(items.length - cut)} smaller`, bytes, kids: new Map(), row: -1 }];
  }
  function cell(name, full, bytes, total, place, colour, action) {
    const [x, y, w, h] = place, button = make("button", colour);
    const share = ((100 * bytes) / total).toFixed(1) + " %";
    button.type = "button";
    button.style.left = x + "px";
    button.style.top = y + "px";
    button.style.width = w + "px";
    button.style.height = h + "px";
    button.title = `${full}\n${human(bytes)}, ${share}`;
    button.setAttribute("aria-label", `${full}, ${human(bytes)}, ${share}`);
    if (w > 30 && h > 15) {
      const wide = colour.includes("group") && w > 120;
      button.append(make("span", "", wide ? `${name} \u00b7 ${human(bytes)}` : name));
      if (!colour.includes("group") && h > 34) button.append(make("span", "", human(bytes)));
    } else button.style.padding = 0;
    if (action) button.addEventListener("click", action);
    else button.disabled = true;
    return button;
  }
  function map() {
    const area = $("map"), root = tree(state.by);
    let node = root;
    const at = [];
    for (const name of state.at) {
      if (!node.kids.has(name)) break;
      node = node.kids.get(name);
      at.push(name);
    }
    const width = area.clientWidth || 1000, height = area.clientHeight || 416, found = [];
    const open = (names) => () => { write({ at: [...at, ...names] }); area.querySelector("button")?.focus(); };
    const look = (item) => (item.row < 0 ? null : () => { write({ q: path[item.row] }); $("q").focus(); });
    // Colours tell apart what is side by side; where one takes nearly all, what is in it gets colours of its own.
    const fill = (parent, names, [x, y, w, h], colour) => {
      const items = few(kids(parent), w, h), own = !colour;
      squares(items, x, y, w, h).forEach(([item, kx, ky, kw, kh], i) => {
        // a layer or a file type is no folder, to be one with what it holds
        const apart = parent === root && state.by !== "folder";
        const [more, inner] = apart ? [[item.name], item] : single(item), way = [...names, ...more], label = more.join("/");
        const action = inner.kids.size ? open(way) : look(inner);
        const room = kw >= 60 && kh >= 44 && inner.kids.size;
        const alone = room && own && item.bytes > 0.6 * parent.bytes;
        const shade = alone || (inner.row < 0 && !inner.kids.size) ? "" : colour || "c" + (i % 7);
        const full = [...at, ...way].join("/"), name = shade + (room ? " group" : "");
        found.push(cell(label, full, item.bytes, root.bytes, [kx, ky, kw, kh], name, action));
        if (room) fill(inner, way, [kx + 3, ky + 19, kw - 6, kh - 22], shade);
      });
    };
    fill(node, [], [0, 0, width, height], "");
    area.replaceChildren(...found);
    const steps = [];
    ["all", ...at].forEach((name, i) => {
      if (i) steps.push(document.createTextNode(" / "));
      if (i === at.length) {
        const here = make("span", "", name);
        here.setAttribute("aria-current", "true");
        steps.push(here);
        return;
      }
      const button = make("button", "", name);
      button.type = "button";
      button.addEventListener("click", () => write({ at: at.slice(0, i) }));
      steps.push(button);
    });
    $("trail").replaceChildren(...steps, document.createTextNode(` \u00b7 ${human(node.bytes)}`));
  }

  function show(change) {
    const keys = Object.keys(change);
    if (keys.some((key) => ["q", "op", "sort", "order"].includes(key))) {
      $("q").value = state.q;
      $("op").value = state.op;
      box.scrollTop = 0;
      choose();
    }
    if (keys.some((key) => ["by", "at"].includes(key))) {
      for (const radio of document.getElementsByName("by")) radio.checked = radio.value === state.by;
      map();
    }
  }
  function all() {
    read();
    show(state);
  }

  const options = ["", ...operations.filter((_, i) => op.includes(i))].map((name) => {
    const option = make("option", "", name || "all");
    option.value = name;
    return option;
  });
  $("op").append(...options);
  $("q").addEventListener("input", () => write({ q: $("q").value }));
  $("op").addEventListener("change", () => write({ op: $("op").value }));
  for (const radio of document.getElementsByName("by")) {
    radio.addEventListener("change", () => write({ by: radio.value, at: [] }));
  }
  addEventListener("hashchange", () => { if (location.hash !== "#paths") all(); });
  let waiting = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => { map(); draw(); });
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      $("q").focus();
    }
  });
  addEventListener("beforeprint", () => { printing = true; draw(); });
  addEventListener("afterprint", () => { printing = false; draw(); });
  $("mapbar").hidden = $("listbar").hidden = false;
  all();
})();
