-- What wrk sends: -- KIND PREFIX KEYS
--   fresh    a key that nobody has used, every time
--   stored   one of the keys PREFIX-1 to PREFIX-KEYS in turn
--   mixed    nine fresh ones, then one that was answered a while ago

local body = '{"amount":1200,"currency":"eur","customer":"cus_9s6XKzkNRiz8i3","description":"Order 1042"}'
local kind, prefix, keys
local sent = 0
local prepared = {}

local function request_of(key)
  local headers = {
    ["Content-Type"] = "application/json",
    ["Authorization"] = "Bearer sk_test_4eC39HqLyjWDarjtT1zdp7dc",
    ["Idempotency-Key"] = key,
  }
  return wrk.format("POST", wrk.path, headers, body)
end

function init(args)
  kind, prefix, keys = args[1], args[2], tonumber(args[3])
  if kind == "stored" then
    for n = 1, keys do prepared[n] = request_of(prefix .. "-" .. n) end
  end
end

function request()
  sent = sent + 1
  if kind == "stored" then return prepared[(sent - 1) % keys + 1] end
  if kind == "mixed" and sent % 10 == 0 and sent > 500 then
    local again = sent - 251 -- never itself a multiple of ten
    return request_of(prefix .. "-" .. again)
  end
  return request_of(prefix .. "-" .. sent)
end

function done(summary, latency, requests)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    'RESULT {"requests":%d,"micros":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status, broken))
end
