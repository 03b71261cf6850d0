// HTTP clients of Node with their retries on for POST, as their manuals set them, and once more set up for a filter that
// says whether to try again. docs/clients.md shows the second.

import { randomUUID } from "node:crypto";
import axios from "axios";
import axiosRetry, { exponentialDelay, isRetryableError } from "axios-retry";
import got from "got";
import ky from "ky";
import { Agent, RetryAgent, request } from "undici";
import { shown } from "./docs.mjs";
import { answered, codeOf, family, told } from "./family.mjs";

const common = { key: "as a header of the call", path: "/orders", good: answered({ id: "order_1" }, 201) };
const headersOf = (token, key) => ({ Authorization: `Bearer ${token()}`, "Idempotency-Key": key });

const gotWith = (retry) => ({
  ...common,
  async call({ url, timeout, token, order }) {
    const key = randomUUID();
    const renew = (options) => void (options.headers.authorization = `Bearer ${token()}`);
    try {
      const hooks = { beforeRetry: [({ options }) => renew(options)] };
      const options = { json: order, headers: headersOf(token, key), timeout: { request: timeout }, retry, hooks };
      return told((await got.post(`${url}/orders`, options)).statusCode);
    } catch (error) {
      return error.response ? told(error.response.statusCode, codeOf(error.response.body)) : error.code;
    }
  },
});

const gotPlain = {
  name: "got 16.1.0",
  ...gotWith({ limit: 3, methods: ["POST"] }),
  retries: "`methods: [\"POST\"]`: 408, 413, 429, 500, 502, 503, 504, 521, 522, 524, lost connections, its own timeout",
  sees: {
    fine: [1, "201", 1],
    402: [1, "402", 1],
    429: [2, "201", 2],
    500: [1, "500", 4],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "409 outcome-unknown", 2],
    "connection cut": [1, "201", 2],
    "in flight": [1, "409 in-flight", 2],
    "own timeout": [1, "201", 2],
    "late answer": [1, "201", 2],
    "store down": [1, "201", 2],
    "token renewed": [1, "409 credential-changed", 2],
    "token renewed, jwt": [1, "201", 2],
    "upload refused": [0, "413 request-too-large", 1],
  },
};

const gotTold = {
  name: "got, set up",
  ...gotWith(shown("retry", ["calculateDelay"])),
  retries: "409 too, and as x-should-retry says",
  obeys: true,
  sees: {
    500: [1, "500", 2],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "502 outcome-unknown", 1],
    "answer lost, probe": [1, "200", 2],
    "in flight": [1, "201", 3],
    "late answer": [1, "201", 2],
    "token renewed": [1, "409 credential-changed", 2],
  },
};

const axiosWith = (retry) => ({
  ...common,
  async call({ url, timeout, token, renewed, order }) {
    const client = axios.create({ baseURL: url, timeout });
    const onRetry = (_, __, config) => void (renewed && config.headers.set("Authorization", `Bearer ${token()}`));
    axiosRetry(client, { retries: 3, onRetry, ...retry });
    try {
      return told((await client.post("/orders", order, { headers: headersOf(token, randomUUID()) })).status);
    } catch (error) {
      return error.response ? told(error.response.status, codeOf(error.response.data)) : error.code;
    }
  },
});

const axiosPlain = {
  name: "axios 1.21.1, axios-retry 4.5.0",
  ...axiosWith({ retryCondition: isRetryableError, retryDelay: exponentialDelay }),
  retries: "`retryCondition: isRetryableError`: 429, 5xx, lost connections; never its own timeout",
  sees: {
    fine: [1, "201", 1],
    402: [1, "402", 1],
    429: [2, "201", 2],
    500: [1, "500", 4],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "409 outcome-unknown", 2],
    "connection cut": [1, "201", 2],
    "in flight": [1, "409 in-flight", 2],
    "own timeout": [1, "ECONNABORTED", 1],
    "late answer": [1, "201", 2],
    "store down": [1, "201", 2],
    "token renewed": [1, "409 credential-changed", 2],
    "token renewed, jwt": [1, "201", 2],
    "upload refused": [0, "413 request-too-large", 1],
  },
};

const axiosTold = {
  name: "axios, set up",
  ...axiosWith(shown("retry", ["shouldResetTimeout"], { exponentialDelay, isRetryableError })),
  retries: "its own timeout too, and as x-should-retry says",
  obeys: true,
  sees: {
    500: [1, "500", 2],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "502 outcome-unknown", 1],
    "answer lost, probe": [1, "200", 2],
    "in flight": [1, "201", 3],
    "own timeout": [1, "201", 2],
    "late answer": [1, "201", 2],
    "token renewed": [1, "409 credential-changed", 2],
  },
};

const kyWith = (retry) => ({
  ...common,
  async call({ url, timeout, token, renewed, order }) {
    const renew = ({ request }) => void (renewed && request.headers.set("Authorization", `Bearer ${token()}`));
    try {
      const options = { json: order, headers: headersOf(token, randomUUID()), timeout, retry, hooks: { beforeRetry: [renew] } };
      return told((await ky.post(`${url}/orders`, options)).status);
    } catch (error) {
      return error.response ? told(error.response.status, codeOf(error.data)) : error.name;
    }
  },
});

const kyPlain = {
  name: "ky 2.1.0",
  ...kyWith({ limit: 3, methods: ["post"] }),
  retries: "`methods: [\"post\"]`: 408, 413, 429, 500, 502, 503, 504, lost connections; its own timeout only with `retryOnTimeout`",
  sees: {
    fine: [1, "201", 1],
    402: [1, "402", 1],
    429: [2, "201", 2],
    500: [1, "500", 4],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "409 outcome-unknown", 2],
    "connection cut": [1, "201", 2],
    "in flight": [1, "409 in-flight", 2],
    "own timeout": [1, "TimeoutError", 1],
    "late answer": [1, "201", 2],
    "store down": [1, "201", 2],
    "token renewed": [1, "409 credential-changed", 2],
    "token renewed, jwt": [1, "201", 2],
    "upload refused": [0, "413 request-too-large", 1],
  },
};

const kyTold = {
  name: "ky, set up",
  ...kyWith(shown("retry", ["retryOnTimeout"])),
  retries: "409 and its own timeout too, and as x-should-retry says",
  obeys: true,
  sees: {
    500: [1, "500", 2],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "502 outcome-unknown", 1],
    "answer lost, probe": [1, "200", 2],
    "in flight": [1, "201", 3],
    "own timeout": [1, "201", 2],
    "late answer": [1, "201", 2],
    "token renewed": [1, "409 credential-changed", 2],
  },
};

const undiciWith = (retry) => ({
  ...common,
  async call({ url, timeout, token, order }) {
    const dispatcher = new RetryAgent(new Agent({ headersTimeout: timeout }), { maxRetries: 3, methods: ["POST"], ...retry });
    try {
      const headers = { ...headersOf(token, randomUUID()), "Content-Type": "application/json" };
      const { statusCode, body } = await request(`${url}/orders`, { method: "POST", headers, body: JSON.stringify(order), dispatcher });
      return told(statusCode, codeOf(await body.text()));
    } catch (error) {
      return error.statusCode ? `${error.code} ${error.statusCode}` : error.code;
    } finally {
      await dispatcher.destroy();
    }
  },
});

const undiciPlain = {
  name: "undici 8.13.1 RetryAgent",
  ...undiciWith({}),
  retries: "`methods: [\"POST\"]`: 429, 500, 502, 503, 504, lost connections; never its own timeout. In the end it throws and the answer's body is lost",
  sees: {
    fine: [1, "201", 1],
    402: [1, "402", 1],
    429: [2, "201", 2],
    500: [1, "UND_ERR_REQ_RETRY 500", 4],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "409 outcome-unknown", 2],
    "connection cut": [1, "201", 2],
    "in flight": [1, "409 in-flight", 2],
    "own timeout": [1, "UND_ERR_HEADERS_TIMEOUT", 1],
    "late answer": [1, "201", 2],
    "store down": [1, "201", 2],
    "upload refused": [0, "413 request-too-large", 1],
  },
};

const undiciTold = {
  name: "undici RetryAgent, set up",
  ...undiciWith(shown("retry", ["UND_ERR"])),
  retries: "409 and its own timeout too, and as x-should-retry says, with a `retry` of one's own",
  obeys: true,
  sees: {
    500: [1, "UND_ERR_REQ_RETRY 500", 2],
    503: [1, "UND_ERR_REQ_RETRY 409", 2],
    "answer lost": [1, "UND_ERR_REQ_RETRY 502", 1],
    "answer lost, probe": [1, "200", 2],
    "in flight": [1, "201", 3],
    "own timeout": [1, "201", 2],
    "late answer": [1, "201", 2],
  },
};

family("HTTP clients of Node", [gotPlain, gotTold, axiosPlain, axiosTold, kyPlain, kyTold, undiciPlain, undiciTold]);
