// Clients of payment and messaging APIs, each with the retries that its makers gave it.

import Stripe from "stripe";
import { ApiException, Svix } from "svix";
import { answered, codeOf, family, told } from "./family.mjs";

const stripe = {
  name: "stripe (Node) 23.1.0",
  key: "by itself, one for each call; or `idempotencyKey`",
  retries: "409, 5xx, lost connections, its own timeout; as Stripe-Should-Retry says",
  path: "/v1/payment_intents/pi_1/capture",
  good: answered({ id: "pi_1", object: "payment_intent", status: "succeeded" }),
  obeys: true,
  async call({ port, timeout, token }) {
    const client = new Stripe(token(), { host: "127.0.0.1", port, protocol: "http", telemetry: false, maxNetworkRetries: 3, timeout });
    try {
      const intent = await client.paymentIntents.capture("pi_1", { amount_to_capture: 2000 });
      return told(intent.lastResponse.statusCode);
    } catch (error) {
      return error.statusCode ? told(error.statusCode, error.code) : error.type;
    }
  },
  sees: {
    fine: [1, "200", 1],
    402: [1, "402", 1],
    429: [1, "429", 1],
    500: [1, "500", 2],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "502 outcome-unknown", 1],
    "answer lost, probe": [1, "200", 2],
    "connection cut": [1, "200", 2],
    "in flight": [1, "200", 3],
    "own timeout": [1, "200", 2],
    "late answer": [1, "200", 2],
    "store down": [1, "200", 2],
  },
};

const svix = {
  name: "svix 2.5.0",
  key: "by itself, one for each call; or `idempotencyKey`",
  retries: "5xx and lost connections, after 50, 100, 200 ms; its timeout is one for all tries",
  path: "/api/v1/app/app_1/msg",
  good: answered({ id: "msg_1", eventType: "invoice.paid", payload: {}, timestamp: "2026-11-28T00:00:00Z" }, 202),
  async call({ url, timeout, token }) {
    const client = new Svix(token(), { serverUrl: url, numRetries: 3, requestTimeout: timeout });
    try {
      const message = await client.message.create("app_1", { eventType: "invoice.paid", payload: {} });
      return message.id === "msg_1" ? "202" : `another message: ${message.id}`;
    } catch (error) {
      return error instanceof ApiException ? told(error.code, codeOf(error.body)) : error.name;
    }
  },
  sees: {
    fine: [1, "202", 1],
    402: [1, "402", 1],
    429: [1, "429", 1],
    500: [1, "500", 4],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "409 outcome-unknown", 2],
    "connection cut": [1, "202", 2],
    "in flight": [1, "409 in-flight", 2],
    "own timeout": [1, "TimeoutError", 1],
    "late answer": [1, "202", 2],
    "store down": [1, "202", 2],
  },
};

family("payments and messages", [stripe, svix]);
