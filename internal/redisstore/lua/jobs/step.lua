-- The step: a call's arguments are the time, the channel, what is to be done, and
-- what that takes.

local OPERATIONS = {put = put_all, take = take, work = work, keep = keep, leave = leave, sweep = sweep,
  queues = queues_of, counts = counts, list = list, cancel = cancel, retry = again, purge = purge}

-- step answers with a list. It answers "TIME" where a function may not ask for
-- the time and args[1] does not tell it. Without a key it answers nothing.
local function step(keys, args)
  if #keys == 0 then
    return
  end
  local clock = redis.pcall('TIME')
  if not clock.err then
    clock = clock[1] * 1000000 + clock[2]
  elseif args[1] ~= '' then
    clock = tonumber(args[1])
  else
    return 'TIME'
  end
  begin(keys[1], clock)
  if args[3] ~= 'put' then -- after a first write no other is refused for want of memory
    call('DEL', P .. 'room')
  end
  local answer = OPERATIONS[args[3]](args)
  flush(args[2])
  return {answer}
end
