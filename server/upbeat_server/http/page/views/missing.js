// An address that leads nowhere.

import { html } from "../vendor/lit-html/lit-html.js";
import { empty } from "../parts/notices.js";

export class MissingPage {
  constructor(app) {
    this.app = app;
  }

  title = "Not found";

  enter() {}

  render() {
    return html`${empty({ title: "There is no such page", text: html`Go to the <a href=${this.app.route.href(["overview"])}>overview</a>.` })}`;
  }
}
