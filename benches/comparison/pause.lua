-- wrk: each connection pauses before it asks again, by so many milliseconds on average. For scripts that load.lua is part
-- of, which numbers the threads.

function pause(milliseconds)
  if milliseconds > 0 then
    math.randomseed(number + 1)
    delay = function() return math.random(0, 2 * milliseconds) end
  end
end
