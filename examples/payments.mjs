// A payments service that was never told about retries: every POST charges. It is the origin that
// `npm start` puts behind Oncegate. In memory, no dependencies.
//
//   POST /v1/payments {"amount": 1200, "currency": "eur"}   charges, takes 400 ms, answers 201
//   GET  /v1/payments                                       all payments
//   GET  /charges                                           how often it charged
//   POST /v1/reports                                        makes a report, takes 2 s, answers 201
//   GET  /reports                                           how many reports it made

import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const PORT = Number(process.env.PORT ?? 8788);
const CHARGE_MS = 400;
const REPORT_MS = 2000;

const payments = [];
let reports = 0;

async function charge(request, response) {
  const asked = parse(await read(request));
  if (!Number.isInteger(asked?.amount) || typeof asked.currency !== 'string') {
    return answer(response, 400, { error: 'an integer amount and a currency are needed' });
  }
  const payment = { id: `pay_${payments.length + 1}`, amount: asked.amount, currency: asked.currency };
  payments.push(payment);
  console.log(`charge ${payments.length}: ${payment.amount} ${payment.currency}, ${payment.id}`);
  await sleep(CHARGE_MS);
  answer(response, 201, payment, { location: `/v1/payments/${payment.id}` });
}

async function report(request, response) {
  await read(request);
  const id = `report_${++reports}`;
  console.log(`report ${reports}: of ${payments.length} payments`);
  await sleep(REPORT_MS);
  answer(response, 201, { id, payments: payments.length });
}

const routes = {
  'POST /v1/reports': report,
  'GET /reports': (_, response) => answer(response, 200, { reports }),
  'POST /v1/payments': charge,
  'GET /v1/payments': (_, response) => answer(response, 200, payments),
  'GET /charges': (_, response) => answer(response, 200, { charges: payments.length }),
};

const server = createServer((request, response) => {
  const path = request.url.split('?')[0];
  const route = routes[`${request.method} ${path}`];
  if (route) route(request, response);
  else answer(response, 404, { error: `nothing at ${request.method} ${path}` });
});

function answer(response, status, body, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(`${JSON.stringify(body)}\n`);
}

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

server.on('error', (error) => {
  if (error.code !== 'EADDRINUSE') throw error;
  console.log(`port ${PORT} is taken, using another`);
  server.listen(0, '127.0.0.1');
});
server.on('listening', () => console.log(`payments on http://127.0.0.1:${server.address().port}`));
server.listen(PORT, '127.0.0.1');
