// The least that a Worker can be: what a runtime costs to start.

export default { fetch: () => new Response("hello", { status: 201 }) };
