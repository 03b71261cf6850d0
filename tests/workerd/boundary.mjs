// Counts the bytes that are copied across the boundary of Wasm, both ways, and the calls that cross it. Imported
// before the built Worker is evaluated, whose bindings then find these in place of the runtime's own. Nothing of
// Wasm itself is changed.
//
// The bindings reach its memory in few ways: a view of it is decoded, sliced, or handed to `new Uint8Array`; it is the
// source or the target of a `set`, or the target of `encodeInto` and `getRandomValues`. A text goes in character by
// character, into memory that the bindings allocate (`__wbindgen_malloc`), so that is what is counted of it.

/** Bytes into Wasm, bytes out of it, calls that it makes. */
export const crossed = { into: 0, out: 0, calls: 0 };

let memory;
/** Where bytes were last asked for: counted then, and not again when they are written. */
let asked = { from: 0, to: 0 };

const ours = (bytes) => ArrayBuffer.isView(bytes) && bytes.buffer === memory?.buffer;
const into = (view, bytes, at = 0) => {
  const from = view.byteOffset + at;
  if (from < asked.from || from >= asked.to) crossed.into += bytes;
};

const bytes = Uint8Array.prototype;
const { set, slice } = bytes;
bytes.set = function (source, at = 0) {
  if (ours(this)) into(this, source.length, at);
  else if (ours(source)) crossed.out += source.byteLength;
  return set.call(this, source, at);
};
bytes.slice = function (...range) {
  const copy = slice.apply(this, range);
  if (ours(this)) crossed.out += copy.byteLength;
  return copy;
};
globalThis.Uint8Array = new Proxy(Uint8Array, {
  construct(target, values, newTarget) {
    if (ours(values[0])) crossed.out += values[0].byteLength;
    return Reflect.construct(target, values, newTarget);
  },
});
bytes.constructor = globalThis.Uint8Array;

const { decode } = TextDecoder.prototype;
TextDecoder.prototype.decode = function (view, ...more) {
  if (ours(view)) crossed.out += view.byteLength;
  return decode.call(this, view, ...more);
};
const { encodeInto } = TextEncoder.prototype;
TextEncoder.prototype.encodeInto = function (text, view) {
  const done = encodeInto.call(this, text, view);
  if (ours(view)) into(view, done.written);
  return done;
};
const random = crypto.getRandomValues.bind(crypto);
crypto.getRandomValues = (view) => {
  if (ours(view)) into(view, view.byteLength);
  return random(view);
};

WebAssembly.Instance = new Proxy(WebAssembly.Instance, {
  construct(target, [module, imports]) {
    const { exports } = new target(module, counted(imports));
    memory = exports.memory;
    return { exports: { ...exports, ...asking(exports) } };
  },
});

/** The imports, each counting how often it is called. */
function counted(imports) {
  const counting = (call) => function (...values) {
    crossed.calls += 1;
    return call.apply(this, values);
  };
  const each = (of, change) => Object.fromEntries(Object.entries(of).map(([name, value]) => [name, change(value)]));
  return each(imports, (group) => each(group, (value) => (typeof value === "function" ? counting(value) : value)));
}

/** The exports by which the bindings allocate memory. */
function asking({ __wbindgen_malloc: malloc, __wbindgen_realloc: realloc }) {
  if (!malloc || !realloc) throw new Error("the bindings allocate in another way: count what they copy anew");
  const give = (from, length, before) => {
    crossed.into += Math.max(0, length - before);
    asked = { from, to: from + length };
    return from;
  };
  return {
    __wbindgen_malloc: (length, ...more) => give(malloc(length, ...more) >>> 0, length, 0),
    __wbindgen_realloc: (from, before, length, ...more) => give(realloc(from, before, length, ...more) >>> 0, length, before),
  };
}
