-- wrk: authorization callbacks. Arguments: a file with one session and its token a line, and how many milliseconds each
-- connection pauses on average. Lines are taken in turn, and again from the beginning when they are used up.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  sessions, tokens, position = {}, {}, 0
  local pause = tonumber(arguments[2])
  if pause > 0 then
    math.randomseed(number + 1)
    delay = function() return math.random(0, 2 * pause) end
  end
  local line = 0
  for text in io.lines(arguments[1]) do
    -- Every thread takes its own lines: two at most.
    if line % 2 == number then
      local session, token = text:match("(%S+) (%S+)")
      sessions[#sessions + 1], tokens[#tokens + 1] = session, token
    end
    line = line + 1
  end
end

function request()
  position = position % #sessions + 1
  local session = sessions[position]
  local body = '{"authorization_token":"' .. session .. '-token","session_id":"' .. session .. '"}'
  return wrk.format("POST", "/wc-api/KP_WC_AUTHORIZATION?kallback=" .. tokens[position],
    { ["Content-Type"] = "application/json" }, body)
end
