// What the pages do by themselves: they keep up to date, and follow the keyboard. Without this they are complete as they were when they were asked for.
"use strict";

const one = (selector, within = document) => within.querySelector(selector);

// The overview: a part that is replaced as a whole.
const live = one("#live[data-stream]");
if (live) {
  const source = new EventSource(live.dataset.stream);
  source.addEventListener("part", (event) => {
    // Whoever reads with the keyboard keeps the place.
    const at = document.activeElement;
    const kept = at && live.contains(at) && at.getAttribute("href");
    live.innerHTML = event.data;
    if (kept) [...live.querySelectorAll("a")].find((link) => link.getAttribute("href") === kept)?.focus();
  });
  source.addEventListener("error", () => live.setAttribute("aria-busy", "true"));
  source.addEventListener("open", () => live.setAttribute("aria-busy", "false"));
}

// Live events: rows that come on top.
const events = one("#events[data-stream]");
if (events) {
  const state = one("#events-state");
  const pause = one("#pause");
  const most = Number(events.dataset.rowsMax);
  let waiting = [];
  let shown = 0;
  const add = (html) => {
    const rows = document.createElement("template");
    rows.innerHTML = html;
    for (const row of rows.content.children) row.classList.add("new");
    shown += rows.content.children.length;
    events.prepend(rows.content);
    while (events.children.length > most) events.lastElementChild.remove();
  };
  const isPaused = () => pause.getAttribute("aria-pressed") === "true";
  const source = new EventSource(events.dataset.stream);
  let note = "";
  const tell = () => {
    const held = waiting.length ? ` ${waiting.length} updates wait.` : "";
    state.textContent = (isPaused() ? "Paused." : `${shown.toLocaleString("en")} events came since this page was opened.`) + held + (note ? ` ${note}.` : "");
  };
  source.addEventListener("rows", (event) => {
    if (isPaused()) {
      waiting.push(event.data);
      // What would not be shown any more need not be kept.
      if (waiting.length > most) waiting.shift();
    } else add(event.data);
    tell();
  });
  source.addEventListener("note", (event) => { note = event.data; tell(); });
  source.addEventListener("anew", () => { events.replaceChildren(); waiting = []; });
  source.addEventListener("error", () => { state.textContent = "The connection is lost; it is tried again."; });
  pause.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", String(!isPaused()));
    pause.textContent = isPaused() ? "Go on" : "Pause";
    if (!isPaused()) { waiting.forEach(add); waiting = []; }
    tell();
  });

  const panel = one("#event");
  let opened = null;
  const close = () => { panel.hidden = true; panel.replaceChildren(); opened?.focus(); opened = null; };
  const open = async (link) => {
    const answer = await fetch(link.href + "?part=1");
    if (!answer.ok) { location.assign(link.href); return; }
    panel.innerHTML = await answer.text();
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Close";
    button.addEventListener("click", close);
    panel.prepend(button);
    panel.hidden = false;
    opened = link;
    button.focus();
  };
  events.addEventListener("click", (event) => {
    const link = event.target.closest("tr")?.querySelector("a.open");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(link);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !panel.hidden) close();
    if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j" || event.key === "k") {
      const links = [...events.querySelectorAll("a.open")];
      const at = links.indexOf(document.activeElement);
      links[Math.max(0, Math.min(links.length - 1, at + (event.key === "j" ? 1 : -1)))]?.focus();
    }
    if (event.key === "p") pause.click();
  });
}

// The explorer: words, and statements that are kept in this browser.
const sql = one("#sql");
if (sql) {
  const form = one("#statement");
  const list = one("#words");
  let words = null;
  let found = [];
  let chosen = 0;
  const WORD = /[\w.$"]*$/;
  const close = () => { list.hidden = true; found = []; sql.removeAttribute("aria-activedescendant"); };
  const draw = () => {
    list.replaceChildren(...found.map((word, number) => {
      const item = document.createElement("li");
      item.id = `word-${number}`;
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", String(number === chosen));
      item.textContent = word;
      item.addEventListener("mousedown", (event) => { event.preventDefault(); chosen = number; take(); });
      return item;
    }));
    list.hidden = found.length === 0;
    if (found.length) {
      sql.setAttribute("aria-activedescendant", `word-${chosen}`);
      list.children[chosen].scrollIntoView({ block: "nearest" });
    }
  };
  const complete = async (asked) => {
    words ??= await fetch(sql.dataset.words).then((answer) => (answer.ok ? answer.json() : []), () => []);
    const typed = WORD.exec(sql.value.slice(0, sql.selectionStart))[0];
    if (!asked && typed.length < 2) return close();
    const low = typed.toLowerCase();
    const last = low.slice(low.lastIndexOf(".") + 1);
    const begins = words.filter((word) => word.toLowerCase().startsWith(low) && word.toLowerCase() !== low);
    const within = words.filter((word) => last.length > 1 && word.toLowerCase().includes(last) && !begins.includes(word) && word.toLowerCase() !== low);
    found = [...begins, ...within].slice(0, 50);
    chosen = 0;
    draw();
  };
  const take = () => {
    const at = sql.selectionStart;
    const typed = WORD.exec(sql.value.slice(0, at))[0];
    sql.setRangeText(found[chosen], at - typed.length, at, "end");
    close();
  };
  sql.addEventListener("input", () => complete(false));
  sql.addEventListener("blur", close);
  sql.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit(); return; }
    if (event.key === " " && event.ctrlKey) { event.preventDefault(); complete(true); return; }
    if (!found.length) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      chosen = (chosen + (event.key === "ArrowDown" ? 1 : found.length - 1)) % found.length;
      draw();
    } else if (event.key === "Enter" || event.key === "Tab") take();
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
  form.addEventListener("submit", () => { for (const button of form.querySelectorAll("button")) button.disabled = true; });

  const KEY = "tidegate.statements";
  const saved = one("#saved");
  const read = () => { try { return JSON.parse(localStorage.getItem(KEY)) ?? {}; } catch { return {}; } };
  const show = () => {
    const all = Object.entries(read());
    saved.hidden = all.length === 0;
    saved.open = all.length > 0;
    one("ul", saved).replaceChildren(...all.map(([name, statement]) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = "/explore?sql=" + encodeURIComponent(statement);
      link.textContent = name;
      const remove = document.createElement("button");
      remove.type = "button";
      remove.textContent = "Remove";
      remove.setAttribute("aria-label", `Remove ${name}`);
      remove.addEventListener("click", () => { const rest = read(); delete rest[name]; localStorage.setItem(KEY, JSON.stringify(rest)); show(); });
      item.append(link, " ", remove);
      return item;
    }));
  };
  one("#save").addEventListener("click", () => {
    const name = prompt("Under which name?");
    if (!name) return;
    localStorage.setItem(KEY, JSON.stringify({ ...read(), [name]: sql.value }));
    show();
  });
  show();
}

// What cannot be undone is asked about.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

// Keys for all pages.
function isTyping(event) {
  return event.target.closest("input, textarea, select") !== null;
}

let goes = 0;
document.addEventListener("keydown", (event) => {
  if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    const search = one("[data-search]");
    if (search) { event.preventDefault(); search.focus(); }
  } else if (event.key === "g") {
    goes = event.timeStamp + 1500;
  } else if (event.timeStamp < goes) {
    goes = 0;
    one(`nav a[data-key="${CSS.escape(event.key)}"]`)?.click();
  }
});
