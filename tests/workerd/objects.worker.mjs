// Runs beside Oncegate in the same process and takes its objects away.

import unsafe from "workerd:unsafe";

export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/evict") await unsafe.evictAllDurableObjects();
    else if (pathname === "/abort") await unsafe.abortAllDurableObjects();
    else return new Response("unknown order", { status: 400 });
    return Response.json({});
  },
};
