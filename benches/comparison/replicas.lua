-- wrk, started in this folder: callbacks as in load.lua, with a pause of so many milliseconds on average (second argument),
-- and at the end how long they took, in a thousand steps, so that several wrks can be put together.

dofile("load.lua")
dofile("pause.lua")

local take_sessions = init

function init(arguments)
  take_sessions(arguments)
  pause(tonumber(arguments[2]))
end

function done(summary, latency)
  local steps = {}
  for step = 1, 1000 do
    steps[step] = string.format("%d", latency:percentile((step - 0.5) / 10))
  end
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format("done %d %d %d", summary.requests, summary.duration, failed))
  print("steps " .. table.concat(steps, " "))
end
