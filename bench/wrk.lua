-- Requests for wrk: a method, on paths of a file in random order, with the headers of another file.
-- The fourth argument is the status that every answer must have, or 0: looking at each costs the
-- load so much that it is done only while warming up.
-- With a fifth argument each request has that body, in which %d is a number of its own.
-- What wrk found goes out as one line of JSON at the end.

local requests, body, number = {}, nil, 0
local method, headers = "GET", {}
local threads = {}
unexpected = 0

function setup(thread)
  threads[#threads + 1] = thread
end

function init(arguments)
  math.randomseed(20260101)
  method, body = arguments[1], arguments[5]
  local expected = tonumber(arguments[4])
  if expected > 0 then
    response = function(status)
      if status ~= expected then unexpected = unexpected + 1 end
    end
  end
  for line in io.lines(arguments[3]) do
    local name, value = line:match("^([^:]+): (.*)$")
    headers[name] = value
  end
  for path in io.lines(arguments[2]) do
    requests[#requests + 1] = wrk.format(method, path, headers)
  end
  if body then
    -- One run must not make the same things as another.
    number = os.time() * 1000000
    local path = wrk.path
    request = function()
      number = number + 1
      return wrk.format(method, path, headers, body:format(number))
    end
  end
end

function request()
  return requests[math.random(#requests)]
end

function done(summary, latency)
  local errors, statuses = summary.errors, summary.errors.status
  for _, thread in ipairs(threads) do
    statuses = math.max(statuses, thread:get("unexpected"))
  end
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "errors": ' ..
    '{"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect, errors.read, errors.write, errors.timeout, statuses
  ))
end
