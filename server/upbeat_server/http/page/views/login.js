// Where the server knows tokens and has not been shown one.

import { html } from "../vendor/lit-html/lit-html.js";

export class LoginPage {
  constructor(app) {
    this.app = app;
  }

  title = "Sign in";

  render() {
    const { credentials, pulse } = this.app;
    const wasRefused = Boolean(credentials.token);
    return html`<form class="login" @submit=${(event) => this.#submit(event)}>
      <img src="icon.svg" alt="" width="40" height="40" />
      <h1>Sign in to upbeat</h1>
      <p class="muted">This server asks for a token. It is kept until the tab is closed.</p>
      <label for="token">Bearer token</label>
      <input class="input" id="token" name="token" type="password" autocomplete="off" required autofocus
        aria-describedby=${wasRefused ? "refused" : "where"} aria-invalid=${wasRefused} />
      ${wasRefused ? html`<p class="refused" id="refused" role="alert">${pulse.failure.message}</p>` : ""}
      <button class="button button-primary" type="submit">Sign in</button>
      <p class="muted" id="where">Tokens are in the file that <code>upbeat serve --tokens</code> names;
        looking needs the role <code>viewer</code>, acting <code>submitter</code> or <code>admin</code>.</p>
    </form>`;
  }

  #submit(event) {
    event.preventDefault();
    const token = new FormData(event.target).get("token").trim();
    if (token) this.app.signIn(token);
  }
}
