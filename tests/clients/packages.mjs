// Lets the tests of this folder import what `npm run clients` installed into .tools/clients. Loaded with --import.

import { registerHooks } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const here = pathToFileURL(import.meta.dirname + path.sep).href;
const there = pathToFileURL(path.resolve(import.meta.dirname, "../../.tools/clients/index.mjs")).href;

registerHooks({
  resolve: (specifier, context, next) =>
    /^(@|\w)[^:]*$/.test(specifier) && context.parentURL?.startsWith(here) ? next(specifier, { ...context, parentURL: there }) : next(specifier, context),
});
