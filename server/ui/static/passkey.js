// Passkeys: a form with data-passkey asks its server for a question, the device for the
// answer, and is then sent with it. Without WebAuthn the form stays hidden.
"use strict";
(() => {
  if (!window.PublicKeyCredential?.parseCreationOptionsFromJSON) return;

  async function ask(form) {
    const question = await fetch(form.dataset.passkey, { method: "POST", body: new URLSearchParams(new FormData(form)), credentials: "same-origin" });
    if (!question.ok) throw new Error(question.headers.get("Content-Type")?.startsWith("text/plain") ? await question.text() : "The server refused: load the page anew.");
    const { publicKey } = await question.json();
    return form.hasAttribute("data-create")
      ? navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey) })
      : navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
  }

  function arm(form) {
    const note = form.querySelector("[role=alert]");
    form.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      note.hidden = true;
      try {
        form.elements.answer.value = JSON.stringify(await ask(form));
        if (form.elements.password) form.elements.password.disabled = true; // it was asked for, and is not needed again
        form.submit();
      } catch (e) {
        note.textContent = e.name === "NotAllowedError" ? "The device did not answer, or you stopped it." : e.message;
        note.hidden = false;
      }
    });
  }
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("form[data-passkey]").forEach(arm));
})();
