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

function consentCard(consent) {
  const card = made("div", "", { className: "card consent" });
  card.append(made("p", `To go on, allow at ${consent.provider}: ${consent.words.join("; ")}`));
  card.append(made("a", "Allow", { href: consent.link, target: "_blank", rel: "noopener" }));
  return card;
}

function approvalCard(approval) {
  const card = made("div", "", { className: "card approval" });
  card.append(made("p", `${approval.tool} (${approval.effect}), from ${approval.account}:`));
  card.append(made("pre", Object.entries(approval.preview).map(([name, value]) => `${name}: ${value}`).join("\n")));
  for (const decision of ["approve", "reject"]) {
    const press = () => send("/decide", { approval: approval.approval_id, decision });
    card.append(made("button", decision, { className: decision, onclick: press }));
  }
  return card;
}

new EventSource("/events").onmessage = (event) => {
  const view = JSON.parse(event.data);
  at("user").textContent = view.user;
  at("said").replaceChildren(...view.said.map((one) => made("p", one.text, { className: one.who })));
  at("asked").replaceChildren(...view.consents.map(consentCard), ...view.approvals.map(approvalCard));
};

at("say").onsubmit = (event) => {
  event.preventDefault();
  send("/say", { text: event.target.text.value });
  event.target.reset();
};
