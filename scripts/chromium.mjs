// Finds the browser in which the operators' page is tested.

import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** CHROME_PATH, or the first that is found; undefined where there is none. */
export function chromium() {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const folders = (process.env.PATH ?? '').split(delimiter);
  const apps = ['Chromium', 'Google Chrome'].map((app) => `/Applications/${app}.app/Contents/MacOS/${app}`);
  const places = [...names.flatMap((name) => folders.map((folder) => join(folder, name))), ...apps];
  return process.env.CHROME_PATH || places.find(existsSync);
}
