// The status page: flows as they happen, one of them in detail, plugins, and who used what.
//
// Everything it shows comes from beside it, with the token in each request; nothing is stored but the token, for as long as the tab is open.
"use strict";

const MOST = 500; // Rows that are kept: more is nothing to read.
const BUSY = 10; // New rows at once from which on nobody can hit one, unless they stand still, nor see that one is new.
const SELDOM = 1000; // Milliseconds between drawings while so many come: more often nobody can read, and a browser has little else to do.
const VIEWS = ["flows", "plugins", "usage"];
const $ = (id) => document.getElementById(id);
let token = sessionStorage.getItem("token") || "";
let shown = "flows";
let connection = 0;

// A link may carry the token behind the #, which no server gets to see.
if (location.hash.startsWith("#token=")) {
    token = decodeURIComponent(location.hash.slice("#token=".length));
    sessionStorage.setItem("token", token);
    history.replaceState(null, "", location.pathname);
}

function make(name, attributes, ...children) {
    const element = name === "svg" || name.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", name.replace("svg:", "")) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
        if (key === "onclick") element.addEventListener("click", value);
        else if (value !== undefined && value !== null) element.setAttribute(key, value);
    }
    // Text only: what clients and servers wrote is never markup.
    for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) element.append(child);
    return element;
}

async function ask(path, options) {
    const response = await fetch(path, { ...options, headers: { Authorization: "Bearer " + token }, cache: "no-store" });
    if (response.status === 401) login(token ? "That is not the token." : "");
    if (!response.ok) {
        const said = await response.json().catch(() => ({}));
        throw new Error(said.error || "the proxy answered " + response.status);
    }
    return response;
}

function login(why) {
    $("login").hidden = false;
    $("login-error").textContent = why;
    for (const view of VIEWS) $(view).hidden = true;
    $("views").hidden = true;
    $("token").focus();
}

$("login").addEventListener("submit", (event) => {
    event.preventDefault();
    token = $("token").value.trim();
    sessionStorage.setItem("token", token);
    $("login").hidden = true;
    $("views").hidden = false;
    show("flows");
    $("content").focus();
    follow();
});

function show(view) {
    if (!$("login").hidden) return;
    shown = view;
    for (const name of VIEWS) $(name).hidden = name !== view;
    for (const button of document.querySelectorAll("nav button")) {
        if (button.dataset.view === view) button.setAttribute("aria-current", "page");
        else button.removeAttribute("aria-current");
    }
    if (view === "plugins") plugins();
    if (view === "usage" && !used) count();
    document.title = "flowgate: " + view;
}
for (const button of document.querySelectorAll("nav button")) button.addEventListener("click", () => show(button.dataset.view));

const number = (count) => count.toLocaleString("en");

function bytes(count) {
    for (const unit of ["B", "KiB", "MiB"]) {
        if (count < 1024) return (unit === "B" ? count : count.toFixed(1)) + " " + unit;
        count /= 1024;
    }
    return count.toFixed(1) + " GiB";
}

function took(micros) {
    if (micros < 1000) return micros + " µs";
    return micros < 1000000 ? (micros / 1000).toFixed(micros < 10000 ? 1 : 0) + " ms" : (micros / 1000000).toFixed(1) + " s";
}
const clock = (micros) => new Date(micros / 1000).toLocaleTimeString("en-GB");

// Flows -------------------------------------------------------------------------------------------------------------------------------------

const flows = new Map(); // Numbers of flows to what is known of them, their row, and the text that is searched; the oldest first.
const waiting = new Map(); // Those that have no row yet: they wait for the next drawing, or while the list stands still.
const changed = new Map(); // Those that have one and are to be drawn anew.
let due = 0; // The timer of the next drawing, if one is needed.
let paused = false;
let missed = 0;
let chosen = null;

async function follow() {
    const mine = ++connection;
    while (mine === connection) {
        try {
            const response = await ask("/v1/watch");
            $("state").textContent = "live";
            $("state").className = "good";
            await read(response.body.getReader(), mine);
        } catch (error) {
            if (!$("login").hidden) return;
        }
        $("state").textContent = "the proxy does not answer; trying again";
        $("state").className = "bad";
        await new Promise((done) => setTimeout(done, 2000));
    }
}

async function read(reader, mine) {
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
        const { done, value } = await reader.read();
        if (done || mine !== connection) return;
        text += decoder.decode(value, { stream: true });
        let end;
        while ((end = text.indexOf("\n\n")) >= 0) {
            const piece = text.slice(0, end);
            text = text.slice(end + 2);
            if (piece.startsWith("data: ")) news(JSON.parse(piece.slice(6)));
        }
    }
}

function news(piece) {
    if (piece.version) $("version").textContent = piece.version;
    missed += piece.missed;
    for (const flow of piece.flows) {
        // One that begins and ends in between is drawn once, and one that ends during a pause after it.
        if (flows.has(flow.flow)) changed.set(flow.flow, flow);
        else if (paused) missed += 1;
        else waiting.set(flow.flow, flow);
    }
    if (paused) return told();
    for (const id of waiting.keys()) {
        if (waiting.size <= MOST) break;
        waiting.delete(id);
        missed += 1;
    }
    if (piece.version || piece.flows.length < BUSY) draw();
    else if (!due) due = setTimeout(draw, SELDOM);
}

function draw() {
    clearTimeout(due);
    due = 0;
    if (paused) return told();
    for (const [id, flow] of changed) if (flows.has(id)) note(flow);
    changed.clear();
    if (waiting.size >= BUSY && isAimedAt()) told();
    else arrive();
}

/** Somebody points at a row, or is at one with the keyboard. */
const isAimedAt = () => $("rows").matches(":hover") || $("rows").querySelector(":focus-visible") !== null;

function arrive() {
    const fresh = document.createDocumentFragment();
    const look = waiting.size < BUSY ? "new" : null;
    for (const flow of waiting.values()) note(flow, fresh, look);
    waiting.clear();
    $("rows").prepend(fresh);
    for (const [id, { row }] of flows) {
        if (flows.size <= MOST) break;
        flows.delete(id);
        row.remove();
    }
    told();
}
for (const left of ["pointerleave", "focusout"]) $("rows").addEventListener(left, () => setTimeout(() => waiting.size && !isAimedAt() && arrive()));

/** Its row is made, or made anew in its place; only what has changed is drawn. */
function note(flow, fresh, look) {
    const known = flows.get(flow.flow);
    const text = [flow.user, flow.client, flow.method, flow.origin + flow.path, flow.status, flow.outcome || "in progress", flow.verdicts.join(" ")].join(" ").toLowerCase();
    const entry = { flow, text, row: known ? known.row : make("tr", { role: "row", class: look, "data-row": flow.flow }) };
    flows.set(flow.flow, entry);
    if (known) {
        const where = known.row.querySelector("button");
        const cell = where.parentElement;
        entry.row.replaceChildren(...cells(flow).map((made) => (made.classList.contains("where") ? cell : made)));
    } else {
        entry.row.append(...cells(flow));
        fresh.prepend(entry.row);
    }
    entry.row.hidden = !wanted(entry);
}

const isBad = (flow) => flow.outcome && (flow.outcome !== "completed" || !flow.status || flow.status >= 400);

function cells(flow) {
    const status = flow.outcome ? (flow.status ?? "–") : (flow.status ?? "…");
    const mood = !flow.outcome ? "run" : isBad(flow) ? "no" : "ok";
    const cell = (name, attributes, ...inside) => make("td", { role: "cell", class: name, ...attributes }, ...inside);
    const host = flow.origin.replace(/^https:\/\//, "").replace(/:443$/, "");
    return [
        cell("time", { title: new Date(flow.began / 1000).toISOString() }, clock(flow.began)),
        cell("user", { title: flow.client }, flow.user || "–"),
        cell("method", {}, flow.method),
        cell("where", {}, make("button", { type: "button", "data-flow": flow.flow, title: flow.origin + flow.path }, make("b", {}, host), flow.path)),
        cell("status-of", {}, make("span", { class: "status " + mood, title: flow.outcome || "in progress" }, String(status))),
        cell("what", { title: flow.verdicts.join("\n") }, flow.verdicts.join("; ")),
        cell("number sent", {}, bytes(flow.sent)),
        cell("number received", {}, flow.messages ? number(flow.messages) + " messages" : bytes(flow.received)),
        cell("number took", {}, flow.outcome ? took(flow.micros) : "…"),
    ];
}

function wanted({ flow, text }) {
    const kind = $("kind").value;
    if (kind === "bad" && !isBad(flow)) return false;
    if (kind === "open" && flow.outcome) return false;
    if (kind === "touched" && !flow.verdicts.length) return false;
    if (kind === "ws" && flow.status !== 101) return false;
    return $("search").value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function filter() {
    for (const entry of flows.values()) entry.row.hidden = !wanted(entry);
    told();
}

function told() {
    const visible = [...flows.values()].filter(({ row }) => !row.hidden).length;
    const parts = [visible === flows.size ? number(visible) + " flows" : number(visible) + " of " + number(flows.size) + " flows"];
    if (waiting.size && isAimedAt()) parts.push(number(waiting.size) + " wait while you are at the list");
    if (missed) parts.push("+" + number(missed) + " not shown");
    $("count").textContent = parts.join(", ");
    $("empty").hidden = visible > 0;
    if (!visible && flows.size) $("empty").textContent = "No flow here is such.";
}

for (const id of ["search", "kind"]) $(id).addEventListener("input", filter);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("clear").addEventListener("click", () => {
    flows.clear();
    waiting.clear();
    changed.clear();
    missed = 0;
    $("rows").replaceChildren();
    told();
});
$("pause").addEventListener("click", () => {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    if (!paused) draw();
});
$("rows").addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) detail(Number(row.dataset.row));
});

// One flow ----------------------------------------------------------------------------------------------------------------------------------

const parsed = (text) => { try { return JSON.parse(text); } catch { return undefined; } };
const pretty = (text) => { const value = parsed(text); return value === undefined ? text : JSON.stringify(value, null, 2); };
const fold = (title, note, open, ...inside) => {
    const element = make("details", {}, make("summary", {}, title + " ", make("small", {}, note)), ...inside);
    element.open = open;
    return element;
};
const list = (kind, facts) => make("dl", { class: kind }, facts.map(([name, value]) => kind === "facts" ? make("div", {}, make("dt", {}, name), make("dd", {}, value)) : [make("dt", {}, name), make("dd", {}, value)]));
const turn = (who, text) => make("div", { class: "turn " + who }, make("small", {}, who), text);

/** What was said to a model, in the forms of the usual interfaces. */
function asked(text) {
    const value = parsed(text);
    if (!value || typeof value !== "object") return [];
    const words = (content) => (typeof content === "string" ? content : Array.isArray(content) ? content.map((part) => part.text ?? "").join("\n") : "");
    const turns = [...(value.messages ?? []), ...(Array.isArray(value.input) ? value.input : [])].filter((one) => one && one.role).map((one) => [one.role, words(one.content)]);
    for (const text of [value.instructions, value.system]) if (typeof text === "string") turns.unshift(["system", text]);
    for (const text of [value.input, value.prompt]) if (typeof text === "string") turns.push(["user", text]);
    return turns.filter(([, text]) => text);
}

function message(title, message) {
    if (!message) return [make("h3", {}, title), make("p", { class: "note" }, "There was none.")];
    const notes = [bytes(message.length), message.is_cut ? "cut short" : "", message.trouble || ""].filter(Boolean).join(", ");
    return [
        make("h3", {}, title),
        fold("Head", `${message.version}, ${message.fields.length} fields`, false, list("fields", message.fields.concat(message.trailers))),
        message.length ? fold("Content", notes, message.length < 20000, make("pre", { tabindex: 0 }, pretty(message.text))) : make("p", { class: "note" }, "No content."),
    ];
}

function steps(explanation) {
    const all = explanation ? explanation.steps : [];
    if (!all.length) return make("p", { class: "note" }, "No plugin was called about it.");
    const row = (step) => make("tr", {},
        make("th", { scope: "row" }, step.plugin, " ", make("small", { class: "note" }, step.version)), make("td", {}, step.hook),
        make("td", { class: step.said.startsWith("failed") ? "bad" : "" }, step.said + (step.changes.length ? "; changed " + step.changes.join(", ") : "")),
        make("td", { class: "number" }, step.calls > 1 ? number(step.calls) + " × " : "", took(step.micros)));
    const heads = make("tr", {}, ["Plugin", "Hook", "Said", "Took"].map((name, at) => make("th", { scope: "col", class: at === 3 ? "number" : "" }, name)));
    const tags = explanation.tags.map(([name, value]) => [name, value]);
    return [make("div", { class: "wide" }, make("table", { class: "steps" }, make("thead", {}, heads), make("tbody", {}, all.map(row)))), tags.length ? list("fields", tags) : null];
}

async function detail(id) {
    choose(id);
    $("detail").hidden = false;
    $("flows").classList.add("looking");
    $("detail-title").textContent = "Flow " + id;
    $("detail-body").replaceChildren(make("p", { class: "note" }, "…"));
    $("detail-title").focus();
    try {
        const flow = await (await ask("/v1/watch/" + id)).json();
        if (chosen !== id) return;
        $("detail-body").replaceChildren(...described(flow));
        $("detail-title").textContent = flow.method + " " + (flow.contents ? flow.contents.url : flow.origin + flow.path);
    } catch (error) {
        $("detail-body").replaceChildren(make("p", { class: "bad" }, error.message));
    }
}

function described(flow) {
    const contents = flow.contents;
    const body = [list("facts", Object.entries({
        Status: flow.status ?? "no response", Outcome: flow.outcome, User: flow.user || "nobody said", Client: flow.client,
        Began: clock(flow.began), Took: took(flow.micros), Sent: bytes(flow.sent), Received: bytes(flow.received),
    }))];
    if (contents) {
        const turns = asked(contents.request.text);
        if (turns.length || contents.said) {
            body.push(make("h3", {}, "Conversation"), ...turns.map(([who, text]) => turn(who, text)));
            if (contents.said) body.push(turn("assistant", contents.said));
        }
    }
    body.push(make("h3", {}, "Plugins"), ...[steps(flow.explanation)].flat().filter(Boolean));
    if (!contents) return [...body, make("p", { class: "note" }, "Fields and contents are not shown here (admin.content is false).")];
    body.push(...message("Request", contents.request), ...message("Response", contents.response));
    if (contents.events.length) {
        body.push(fold("Server-sent events", number(contents.events.length), false, contents.events.map((event) => make("pre", {}, (event.event === "message" ? "" : event.event + ": ") + pretty(event.data)))));
    }
    if (contents.messages.length) {
        body.push(make("h3", {}, "WebSocket messages"), ...contents.messages.map((one) =>
            fold(one.by === "client" ? "client → origin" : "origin → client", `${one.kind}, ${bytes(one.length)}, after ${took(one.at)}`, one.length < 2000, make("pre", {}, pretty(one.text)))));
    }
    return body;
}

function choose(id) {
    flows.get(chosen)?.row.classList.remove("chosen");
    chosen = id;
    flows.get(chosen)?.row.classList.add("chosen");
}

function leave() {
    const row = flows.get(chosen)?.row;
    choose(null);
    $("detail").hidden = true;
    $("flows").classList.remove("looking");
    (row && !row.hidden ? row.querySelector("button") : $("search")).focus();
}
$("back").addEventListener("click", leave);

function step(down) {
    const visible = [...flows.values()].map(({ row }) => row).filter((row) => !row.hidden).sort((one, other) => one.rowIndex - other.rowIndex);
    const at = visible.findIndex((row) => row.contains(document.activeElement));
    visible[Math.min(visible.length - 1, Math.max(0, at + (down ? 1 : -1)))]?.querySelector("button").focus();
}

document.addEventListener("keydown", (event) => {
    if (shown !== "flows" || event.ctrlKey || event.metaKey || event.altKey) return;
    const active = document.activeElement;
    const writes = ["INPUT", "SELECT"].includes(active.tagName);
    const arrow = event.key === "ArrowDown" || event.key === "ArrowUp";
    if (event.key === "Escape" && !$("detail").hidden) leave();
    else if (event.key === "/" && !writes && $("login").hidden) $("search").focus();
    else if (arrow && (active.closest("#rows") || (active === $("search") && event.key === "ArrowDown"))) step(event.key === "ArrowDown");
    else return;
    event.preventDefault();
});

// Plugins -----------------------------------------------------------------------------------------------------------------------------------

async function plugins() {
    try {
        const all = await (await ask("/v1/plugins")).json();
        const focused = document.activeElement?.dataset.back;
        $("plugin-list").replaceChildren(...all.map(plugin), ...(all.length ? [] : [make("p", { class: "note" }, "There are no plugins.")]));
        if (focused) document.querySelector(`[data-back="${CSS.escape(focused)}"]`)?.focus();
    } catch (error) {
        $("plugin-list").replaceChildren(make("p", { class: "bad" }, error.message));
    }
}

function plugin(one) {
    const facts = [
        ["Version", one.version || "none"],
        ["Build", one.hash ? one.hash.slice(0, 12) : "none"],
        ["Calls", number(one.calls)],
        ["Failed", one.calls ? `${number(one.failures)} (${(100 * one.failures / one.calls).toFixed(1)} %)` : "0"],
        ["p50 of calls", one.calls ? took(one.p50_us) : "–"],
        ["p99 of calls", one.calls ? took(one.p99_us) : "–"],
        ["Memory", bytes(one.memory_bytes)],
        ["Not observed", number(one.unobserved + one.lost)],
        ["Skipped", number(one.skipped)],
    ];
    const more = [
        ["hooks", one.hooks.join(", ") || "none"],
        ["may use", one.capabilities.join(", ") || "nothing"],
        ["file", one.file || "built in"],
        ["hash", one.hash || "none"],
    ];
    const mood = one.state === "serving" ? "good" : one.state.startsWith("suspended") ? "warn" : "bad";
    const failed = one.last_failure;
    const back = one.previous ? make("button", { type: "button", "data-back": one.name, onclick: () => act("/v1/plugins/" + encodeURIComponent(one.name) + "/rollback") }, "Roll back to " + one.previous.slice(0, 12), make("span", { class: "away" }, " " + one.name)) : null;
    return make("article", { class: "panel", "data-plugin": one.name, "aria-label": "Plugin " + one.name },
        make("div", { class: "bar" }, make("h3", {}, one.name), make("span", { class: "pill " + mood }, one.state + (one.loading ? ", a newer build is being loaded" : ""))),
        one.refused ? make("p", { class: "told bad" }, "What its file holds is refused: " + one.refused) : null,
        one.rolled_back_from ? make("p", { class: "note" }, "Rolled back from " + one.rolled_back_from.slice(0, 12) + ", which its file holds still.") : null,
        failed ? make("p", { class: "told" }, make("span", { class: "note" }, `Last failure, ${new Date(failed.at / 1000).toLocaleString("en-GB")}, in ${failed.hook}${failed.flow ? " of flow " + failed.flow : ""}: `), failed.error) : null,
        list("facts", facts),
        fold("More", "", false, list("fields", more)),
        back ? make("div", { class: "actions" }, back) : null);
}

async function act(path) {
    $("done").textContent = "…";
    try {
        const said = await (await ask(path, { method: "POST" })).json();
        $("done").textContent = said.done.join("; ");
    } catch (error) {
        $("done").textContent = error.message;
    }
    plugins();
}
$("reload").addEventListener("click", () => act("/v1/plugins/reload"));
setInterval(() => {
    // What somebody reads or is about to press stays.
    if (shown === "plugins" && !document.hidden && !document.querySelector("#plugin-list details[open]") && !$("plugins").hidden) plugins();
}, 5000);

// Usage -------------------------------------------------------------------------------------------------------------------------------------

const DAY = 24 * 60 * 60 * 1000;
const date = (moment) => new Date(moment).toISOString().slice(0, 10);
const MEASURES = { requests: "Requests", chat: "Chat", completions: "Completions", failed: "Failed", input_tokens: "Tokens in", output_tokens: "Tokens out" };
let used = null;

$("since").value = date(Date.now() - 29 * DAY);

async function count() {
    $("counted").textContent = "counting …";
    try {
        used = await (await ask("/v1/usage?" + new URLSearchParams({ since: $("since").value, until: $("until").value }))).json();
        $("counted").textContent = number(used.counted) + " records" + (used.skipped ? "; " + number(used.skipped) + " files are none" : "");
        charts();
    } catch (error) {
        $("counted").textContent = error.message;
    }
}
$("question").addEventListener("submit", (event) => { event.preventDefault(); count(); });
$("measure").addEventListener("input", () => used && charts());
window.addEventListener("resize", () => used && shown === "usage" && charts());

function charts() {
    const measure = $("measure").value;
    const table = (name) => used.tables.find((table) => table.by === name).rows;
    const total = (name) => table("user").reduce((sum, row) => sum + row.counts[name], 0);
    const tiles = make("dl", { class: "tiles" }, Object.entries(MEASURES).map(([name, title]) => make("div", {}, make("dt", {}, title), make("dd", {}, number(total(name))))));
    const beams = ["user", "model", "editor", "language"].map((name) => chart(name, table(name), measure));
    $("charts").replaceChildren(tiles, make("div", { class: "charts" }, days(table("day"), measure), beams));
}

function chart(name, rows, measure) {
    const MANY = 12;
    const sorted = rows.filter((row) => row.counts[measure]).sort((one, other) => other.counts[measure] - one.counts[measure]);
    const most = Math.max(1, ...sorted.map((row) => row.counts[measure]));
    const line = ({ key, counts }) => {
        const beam = make("i", {});
        beam.style.width = (100 * counts[measure] / most) + "%";
        return make("tr", {}, make("th", { scope: "row", title: key }, key === "-" ? "unknown" : key), make("td", { class: "beam" }, beam), make("td", { class: "number" }, number(counts[measure])));
    };
    const table = (rows) => make("table", {}, make("thead", { class: "away" }, make("tr", {}, [name, "share", MEASURES[measure]].map((head) => make("th", { scope: "col" }, head)))), make("tbody", {}, rows.map(line)));
    return make("section", { class: "panel", "aria-label": "By " + name }, make("h3", {}, "By " + name),
        sorted.length ? table(sorted.slice(0, MANY)) : make("p", { class: "note" }, "Nothing was counted."),
        sorted.length > MANY ? fold("More", number(sorted.length - MANY), false, table(sorted.slice(MANY))) : null);
}

function days(rows, measure) {
    const counted = new Map(rows.map((row) => [row.key, row.counts[measure]]));
    const known = rows.map((row) => row.key).filter((key) => key !== "-").sort();
    const all = [];
    if (known.length) {
        const from = Date.parse($("since").value || known[0]);
        const to = Math.min(Date.parse($("until").value || date(Date.now())), Math.max(Date.now(), Date.parse(known.at(-1))));
        for (let day = from; day <= to && all.length < 3660; day += DAY) all.push(date(day));
    }
    const [wide, high, foot] = [Math.max(260, $("charts").clientWidth - 34), 150, 18];
    const most = Math.max(1, ...all.map((day) => counted.get(day) || 0));
    const room = wide / Math.max(1, all.length);
    const bar = (day, at) => {
        const height = (high - 20) * (counted.get(day) || 0) / most;
        return make("svg:rect", { x: at * room + room * 0.1, y: high - height, width: Math.max(1, room * 0.8), height, rx: Math.min(3, room * 0.2) }, make("svg:title", {}, day + ": " + number(counted.get(day) || 0)));
    };
    const every = Math.max(1, Math.ceil(all.length * 48 / wide));
    const label = (day, at) => (at % every ? null : make("svg:text", { x: at * room + room * 0.1, y: high + 14 }, day.slice(5)));
    const picture = make("svg", { class: "days", viewBox: `0 0 ${wide} ${high + foot}`, role: "img", "aria-label": MEASURES[measure] + " by day; the numbers are in the table below" },
        make("svg:line", { x1: 0, x2: wide, y1: high, y2: high }), all.map(bar), all.map(label), make("svg:text", { x: 0, y: 12 }, "most: " + number(most)));
    const line = (day) => make("tr", {}, make("th", { scope: "row" }, day), make("td", { class: "number" }, number(counted.get(day) || 0)));
    const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "day"), make("th", { scope: "col", class: "number" }, MEASURES[measure]))), make("tbody", {}, all.filter((day) => counted.get(day)).map(line)));
    return make("section", { class: "panel all", "aria-label": "By day" }, make("h3", {}, "By day"), all.length ? [picture, fold("As a table", "", false, table)] : make("p", { class: "note" }, "Nothing was counted."));
}

if (token) { show("flows"); follow(); } else login("");
