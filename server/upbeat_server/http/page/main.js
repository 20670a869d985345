// Starts the dashboard: builds what it consists of and hands over to App.

import { App } from "./app/app.js";

new App(document.body).start();
