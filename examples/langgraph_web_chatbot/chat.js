"use strict";

const at = (id) => document.getElementById(id);

function made(tag, text, more = {}) {
  const element = document.createElement(tag);
  element.textContent = text; // never innerHTML: mail is written by strangers
  return Object.assign(element, more);
}

function send(path, data) {
  return fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(data) });
}

function card(kind, heading, ...parts) {
  const element = made("section", "", { className: `card ${kind}` });
  element.append(made("h2", heading), ...parts);
  return element;
}

function row(...parts) {
  const element = made("div", "", { className: "row" });
  element.append(...parts);
  return element;
}

function consentCard(consent) {
  const words = made("p", `Your agent asks to be allowed to: ${consent.scope_descriptions.join("; ")}.`);
  const allow = made("a", "Allow", { href: consent.link, target: "_blank", rel: "noopener", className: "button" });
  const provider = consent.provider[0].toUpperCase() + consent.provider.slice(1);
  return card("consent", `Connect ${provider}`, words, row(allow));
}

// What a person reads first; the rest follows as the tool has it.
const FIRST = ["warning", "comes from", "to", "cc", "bcc", "answers go to", "subject", "title", "text", "body", "files"];
const place = ([name]) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);

function rows(approval) {
  const list = made("dl", "");
  for (const [name, value] of Object.entries(approval.preview).sort((a, b) => place(a) - place(b))) {
    const changed = approval.changed_fields.includes(name) ? " (changed)" : "";
    const warns = ["warning", "comes from"].includes(name);
    list.append(made("dt", name + changed), made("dd", value, { className: warns ? "warning" : "", tabIndex: 0 }));
  }
  return list;
}

function approvalCard(approval) {
  const said = made("p", "", { className: "quiet", role: "alert" });
  const buttons = ["approve", "reject"].map((decision) => {
    const button = made("button", decision === "approve" ? "Approve" : "Reject", { className: decision });
    button.onclick = async () => {
      buttons.forEach((one) => (one.disabled = true));
      const answer = await send("/decide", { approval: approval.approval_id, decision });
      said.textContent = answer.ok ? "Your agent goes on ..." : (await answer.json()).error;
    };
    return button;
  });
  const more = made("a", "See all of it", { href: approval.link, target: "_blank", rel: "noopener" });
  const who = made("p", `As ${approval.account}, by ${approval.tool}`, { className: "quiet" });
  return card("approval", approval.summary || "May your agent do this?", who, rows(approval), row(...buttons, more), said);
}

function show(view) {
  const asks = [...view.consents.map(consentCard), ...view.approvals.map(approvalCard)];
  at("user").textContent = view.user;
  at("said").replaceChildren(...view.said.map((one) => made("p", one.text, { className: one.who })));
  if (asks.length > 1) {
    const all = [...view.consents, ...view.approvals][0].request_link;
    asks.push(made("a", `All ${asks.length} on one page`, { href: all, target: "_blank", rel: "noopener" }));
  }
  at("asked").replaceChildren(...asks);
  for (const one of at("say").elements) one.disabled = asks.length > 0; // while it waits, the agent hears nothing else
  const waits = view.said.at(-1)?.who === "you" && !asks.length;
  at("busy").textContent = asks.length ? "Your agent waits for you." : waits ? "Your agent is at work ..." : "";
  window.scrollTo(0, document.body.scrollHeight);
}

const events = new EventSource("/events");
events.onmessage = (event) => show(JSON.parse(event.data));
events.onerror = () => (at("busy").textContent = "The connection is lost; trying again ...");

at("say").onsubmit = (event) => {
  event.preventDefault();
  const text = event.target.text.value.trim();
  if (text) {
    send("/say", { text });
    at("said").append(made("p", text, { className: "you" }));
    at("busy").textContent = "Your agent is at work ...";
  }
  event.target.reset();
};
