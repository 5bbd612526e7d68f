-- Puts one state in place of another, unless somebody was faster. ARGV: the state that was seen, the one to put in its
-- place ('' for none), and the milliseconds to keep it for. Says whether it did.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
