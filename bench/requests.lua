-- For wrk: sends the requests of a file in order, over and over. A line is METHOD PATH BODY; the body may be missing. Lines
-- before them that are NAME: VALUE are headers of each.
local requests, last = {}, 0

function init(args)
  wrk.headers["Content-Type"] = "application/json"
  for line in io.lines(args[1]) do
    local name, value = line:match("^(%S+): (.*)$")
    if name then
      wrk.headers[name] = value
    else
      local method, path, body = line:match("^(%S+) (%S+) ?(.*)$")
      requests[#requests + 1] = wrk.format(method, path, nil, body ~= "" and body or nil)
    end
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end
