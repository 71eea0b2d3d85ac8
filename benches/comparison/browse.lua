-- wrk, started in this folder: somebody who reads a page before asking for the next. Argument: how many milliseconds on
-- average.

dofile("load.lua")
dofile("pause.lua")

function init(arguments)
  pause(tonumber(arguments[1]))
end
