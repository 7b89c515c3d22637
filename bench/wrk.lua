-- Requests for wrk: a method, on paths of a file in random order, with the headers of another file.
-- With a fourth argument each request has that body, in which %d is a number of its own.
-- What wrk found goes out as one line of JSON at the end.

local requests, body, number = {}, nil, 0
local method, headers = "GET", {}

function init(arguments)
  math.randomseed(20260101)
  method, body = arguments[1], arguments[4]
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
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "errors": ' ..
    '{"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect, errors.read, errors.write, errors.timeout, errors.status
  ))
end
