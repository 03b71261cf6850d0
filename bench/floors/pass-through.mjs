// The floor below everything: a bare pass-through Worker. Body and answer stream, nothing is looked at.

export default {
  fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    return fetch(env.ORIGIN + pathname + search, request);
  },
};
