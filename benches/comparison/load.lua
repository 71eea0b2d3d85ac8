-- wrk: says what came of it in one line. With arguments it sends authorization callbacks: a file with one session and its
-- token a line. Lines are taken in turn, and again from the beginning when they are used up.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  if not arguments[1] then return end
  sessions, tokens, position = {}, {}, 0
  local line = 0
  for text in io.lines(arguments[1]) do
    -- Every thread takes its own lines: two at most.
    if line % 2 == number then
      local session, token = text:match("(%S+) (%S+)")
      sessions[#sessions + 1], tokens[#tokens + 1] = session, token
    end
    line = line + 1
  end
  request = callback
end

function callback()
  position = position % #sessions + 1
  local session = sessions[position]
  local body = '{"authorization_token":"' .. session .. '-token","session_id":"' .. session .. '"}'
  return wrk.format("POST", "/wc-api/KP_WC_AUTHORIZATION?kallback=" .. tokens[position],
    { ["Content-Type"] = "application/json" }, body)
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d %d\n", summary.requests, summary.duration, failed,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
