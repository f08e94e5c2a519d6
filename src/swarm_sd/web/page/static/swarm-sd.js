// What the page does beyond plain HTML: live updates, search while typing, colours, keys, copying.
// Everything works without it. It loads the same URLs and puts the new <main> in the place of the old.
"use strict";

(() => {
  const root = document.documentElement;
  const stored = (name) => { try { return localStorage.getItem("swarm-sd-" + name); } catch { return null; } };
  const store = (name, value) => { try { localStorage.setItem("swarm-sd-" + name, value); } catch { /* not kept */ } };

  // -- colours: before anything is drawn --
  const paint = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  paint(stored("theme"));
  root.dataset.script = "";

  const byId = (id) => document.getElementById(id);
  const main = () => byId("main");
  const say = (text) => { byId("said").textContent = text; };

  // -- loading the view again, and keeping what its reader has in hand --
  let loading = null;

  const load = async (url, { typed = false } = {}) => {
    loading?.abort();
    const mine = loading = new AbortController();
    try {
      const response = await fetch(url, { signal: mine.signal, headers: { Accept: "text/html" } });
      if (!(response.headers.get("Content-Type") || "").startsWith("text/html")) throw new Error("not a page");
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (mine !== loading || !page.getElementById("main")) return false;
      if (typed) history.replaceState(null, "", url);
      put(page, typed);
      return true;
    } catch (error) {
      if (error.name !== "AbortError") throw error;
      return false;
    } finally {
      if (mine === loading) loading = null;
    }
  };

  const put = (page, typed) => {
    const old = main(), next = document.adoptNode(page.getElementById("main"));
    const kept = { focus: focusOf(old), x: scrollX, y: scrollY };
    keepOpen(old, next);
    if (!typed) markFresh(old, next);
    const scrolled = [...old.querySelectorAll("[data-keep]")].map((one) => [one.dataset.keep, one.scrollLeft, one.scrollTop]);
    const troubles = (where) => [...where.querySelectorAll(".banner-title")].map((one) => one.textContent);
    const before = troubles(old), after = troubles(next);
    old.replaceWith(next);
    document.title = page.title;
    dress(next);
    for (const [name, left, top] of scrolled) {
      const one = next.querySelector(`[data-keep="${CSS.escape(name)}"]`);
      if (one) { one.scrollLeft = left; one.scrollTop = top; }
    }
    refocus(next, kept.focus);
    scrollTo(kept.x, kept.y);
    // what is new and wrong is said, and that all is well again; nothing else
    const fresh = after.filter((one) => !before.some((was) => alike(was, one)));
    if (fresh.length) say(fresh.join(". "));
    else if (before.length && !after.length) say("All is well again");
    else if (typed) say(next.querySelector(".paging p")?.textContent || "");
  };

  const alike = (one, other) => one.replace(/\d+( \w+)?/g, "") === other.replace(/\d+( \w+)?/g, "");

  const keepOpen = (old, next) => {
    const state = new Map([...old.querySelectorAll("details[data-key]")].map((one) => [one.dataset.key, one.open]));
    for (const one of next.querySelectorAll("details[data-key]")) {
      if (state.has(one.dataset.key)) one.open = state.get(one.dataset.key);
    }
  };

  const markFresh = (old, next) => {
    const known = new Set([...old.querySelectorAll("tr[data-key]")].map((one) => one.dataset.key));
    if (!known.size) return;
    for (const one of next.querySelectorAll("tr[data-key]")) one.classList.toggle("fresh", !known.has(one.dataset.key));
  };

  // the way to an element: its id, or which of its row's or main's focusable ones it is
  const REACHABLE = "a[href], button, input, select, summary, [tabindex]";
  const focusOf = (old) => {
    const one = document.activeElement;
    if (one === old) return { main: true };
    if (!old.contains(one)) return null;
    const row = one.closest("[data-key]");
    const within = row || old;
    const found = { id: one.id, key: row?.dataset.key, nth: [...within.querySelectorAll(REACHABLE)].indexOf(one), summary: one.tagName === "SUMMARY" };
    if (one.matches("input[type=search]")) Object.assign(found, { value: one.value, start: one.selectionStart, end: one.selectionEnd });
    return found;
  };

  const refocus = (next, was) => {
    if (!was) return;
    if (was.main) { next.focus({ preventScroll: true }); return; }
    let one = was.id && next.querySelector("#" + CSS.escape(was.id));
    if (!one && was.key) {
      const row = next.querySelector(`${was.summary ? "details" : ""}[data-key="${CSS.escape(was.key)}"]`);
      one = row && [...row.querySelectorAll(REACHABLE)][was.nth];
    } else if (!one && !was.id) {
      one = [...next.querySelectorAll(REACHABLE)][was.nth];
    }
    if (!one) { next.focus({ preventScroll: true }); return; }
    if (was.value !== undefined) one.value = was.value;  // typed further meanwhile
    one.focus({ preventScroll: true });
    if (was.value !== undefined) one.setSelectionRange(was.start, was.end);
  };

  // -- search while typing --
  let typing = null;
  const asked = (form) => {
    const told = [...new FormData(form)].filter(([, value]) => value !== "");
    const query = new URLSearchParams(told).toString();
    return form.getAttribute("action") + (query ? "?" + query : "");
  };
  const search = (form, after) => {
    clearTimeout(typing);
    typing = setTimeout(async () => {
      typing = null;
      try { await load(asked(form), { typed: true }); } catch { show("disconnected"); }
    }, after);
  };
  document.addEventListener("input", (event) => {
    const form = event.target.form;
    if (form?.hasAttribute("data-live") && event.target.type === "search" && !event.isComposing) search(form, 250);
  });
  document.addEventListener("compositionend", (event) => {
    if (event.target.form?.hasAttribute("data-live")) search(event.target.form, 250);
  });
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    if (form?.hasAttribute("data-live") && event.target.tagName === "SELECT") search(form, 0);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.hasAttribute("data-live")) return;
    event.preventDefault();
    search(event.target, 0);
  });

  // -- live --
  const PAUSE = 1000, AGAIN = 5000;  // ms between two updates, and until a connection is tried again
  let source = null, waiting = false, loadedAt = Date.now(), timer = null;
  let paused = stored("paused") === "yes";
  const WORDS = { connecting: "connecting", live: "live", paused: "paused", disconnected: "disconnected" };

  const show = (state) => {
    const live = byId("live");
    const shown = paused && state === "live" ? "paused" : state;
    const was = live.dataset.state;
    live.dataset.state = shown;
    byId("live-word").textContent = shown === "paused" && waiting ? "paused, changed" : WORDS[shown];
    if (shown === "disconnected" && was !== shown) say("Live updates are disconnected");
    if (shown === "live" && was === "disconnected") say("Live updates are back");
  };

  const busy = () => {
    const selection = getSelection();
    const selecting = selection && !selection.isCollapsed && main().contains(selection.anchorNode);
    return document.hidden || typing !== null || loading !== null || selecting
      || document.activeElement?.matches("#main select") || byId("help").open;
  };

  const refresh = () => {
    waiting = true;
    if (paused) { show("live"); return; }
    if (timer) return;
    timer = setTimeout(async () => {
      timer = null;
      if (!waiting || paused) return;
      if (busy()) { refresh(); return; }
      waiting = false;
      loadedAt = Date.now();
      try {
        if (!await load(location.href)) refresh();
      } catch {
        waiting = true;
        show("disconnected");
      }
    }, Math.max(0, loadedAt + PAUSE - Date.now(), busy() ? PAUSE : 0));
  };

  // only while it is looked at: a browser has six connections for all of its tabs
  const connect = () => {
    if (document.hidden || (source && source.readyState !== EventSource.CLOSED)) return;
    source = new EventSource("/api/v1/live");
    source.addEventListener("open", () => show("live"));
    source.addEventListener("change", (event) => {
      const { generation, status } = JSON.parse(event.data);
      if (main().dataset.news !== `${generation}/${status}`) refresh();
    });
    source.addEventListener("error", () => {
      show("disconnected");
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN);
    });
  };

  // -- times --
  const UNITS = [[172800, 86400, "d"], [3600, 3600, "h"], [60, 60, "min"], [1, 1, "s"]];
  const ago = (seconds) => {
    for (const [from, of, unit] of UNITS) if (seconds >= from) return `${Math.floor(seconds / of)} ${unit} ago`;
    return "just now";
  };
  const tick = () => {
    for (const one of document.querySelectorAll("main time")) {
      const text = ago((Date.now() - Date.parse(one.dateTime)) / 1000);
      if (one.textContent !== text) one.textContent = text;
    }
  };

  // -- copying --
  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // not over plain HTTP
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "unseen";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await copied(button.dataset.copy);
    button.focus({ preventScroll: true });
    button.textContent = "copied";
    say("Copied");
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });

  const dress = (where) => { for (const one of where.querySelectorAll("[data-copy]")) one.hidden = false; };

  // -- keys --
  const pause = () => {
    paused = !paused;
    store("paused", paused ? "yes" : "no");
    showPause();
    say(paused ? "Live updates are paused" : "Live updates go on");
    if (!paused && waiting) refresh();
  };
  const showPause = () => {
    const button = byId("pause");
    button.textContent = paused ? "Resume" : "Pause";
    button.setAttribute("aria-pressed", String(paused));
    const state = byId("live").dataset.state;
    show(state === "paused" ? "live" : state);
  };
  const step = (by) => {
    const rows = [...main().querySelectorAll("[data-row]")];
    const row = document.activeElement.closest("tr");
    const now = rows.findIndex((one) => one === document.activeElement || (row && row.contains(one)));
    const next = rows[now < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, now + by))];
    if (next) { next.focus(); next.scrollIntoView({ block: "nearest" }); }
  };
  const turn = (rel) => main().querySelector(`a[rel=${rel}]`)?.click();
  const KEYS = {
    "/": () => { const field = byId("search"); if (!field) return false; field.focus(); field.select(); return true; },
    j: () => step(1),
    k: () => step(-1),
    n: () => turn("next"),
    p: () => turn("prev"),
    l: pause,
    "?": () => byId("help").showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    if (event.key === "Escape" && at.matches?.("#search")) { at.blur(); main().focus({ preventScroll: true }); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || at.matches?.("input, select, textarea") || byId("help").open) return;
    if (stored("keys") === "no") return;
    const act = Object.hasOwn(KEYS, event.key) && KEYS[event.key];
    if (act && act() !== false) event.preventDefault();
  });

  // -- the beginning --
  document.addEventListener("DOMContentLoaded", () => {
    byId("controls").hidden = false;
    const theme = byId("theme");
    theme.value = stored("theme") || "auto";
    theme.addEventListener("change", () => { store("theme", theme.value); paint(theme.value); });
    const keys = byId("keys");
    keys.checked = stored("keys") !== "no";
    keys.addEventListener("change", () => store("keys", keys.checked ? "yes" : "no"));
    byId("pause").addEventListener("click", pause);
    byId("help-button").addEventListener("click", () => byId("help").showModal());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) { source?.close(); return; }
      connect();
      if (waiting) refresh();
    });
    dress(document);
    showPause();
    setInterval(tick, 5000);
    setInterval(() => {  // views of what is never told as a change: who answered when
      const every = main().dataset.again;
      const alive = byId("live").dataset.state === "live";
      if (every && alive && !busy() && Date.now() - loadedAt >= every * 1000) refresh();
    }, 1000);
    connect();
    addEventListener("pagehide", () => source?.close());
    addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  });
})();
