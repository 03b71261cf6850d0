// The code of docs/clients.md, so that what the page shows is what is run.

import { blocks } from "../workerd/docs.mjs";

/** The value of `name` in the page's JavaScript block that has all of `words`; `scope` is what the block uses. */
export function shown(name, words, scope = {}) {
  const found = blocks("clients", "js").filter((block) => words.every((word) => block.includes(word)));
  if (found.length !== 1) throw new Error(`docs/clients.md has ${found.length} blocks with ${words.join(" and ")}`);
  return new Function(...Object.keys(scope), `${found[0]}\nreturn ${name};`)(...Object.values(scope));
}

/** The page's Python. */
export const python = blocks("clients", "python").join("\n\n");
