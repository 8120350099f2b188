-- Jobs stored.

local NEW = 9 -- arguments of a job to be stored

-- put stores a job. It returns 1, or what there is: the job of the same ID or of
-- the same key.
local function put(args, at)
  local id, key = args[at], args[at + 6]
  if call('HEXISTS', record(id), 'state') == 1 then
    return {id, answer(id)}
  end
  if key ~= '' then
    local other = call('GET', P .. 'key:' .. key)
    if other and call('HEXISTS', record(other), 'state') == 1 then
      return {other, answer(other)}
    end
    call('SET', P .. 'key:' .. key, id)
  end
  local f = {id = id, kind = args[at + 1], queue = args[at + 2], upstream = args[at + 3]}
  f.order = tonumber(args[at + 4]) * SPAN + now - EPOCH
  f.created = now
  local fields = {'state', 'waiting', 'order', f.order, 'queue', f.queue, 'upstream', f.upstream,
    'head', args[at + 7], 'request', args[at + 8]}
  local n, due = #fields, false
  if f.kind ~= 'call' then
    fields[n + 1], fields[n + 2] = 'kind', f.kind
    n = n + 2
  end
  if key ~= '' then
    fields[n + 1], fields[n + 2] = 'key', key
    n = n + 2
  end
  local delay = tonumber(args[at + 5])
  if delay > 0 then
    due = now + delay
    fields[n + 1], fields[n + 2] = 'due', due
  end
  call('HSET', record(id), unpack(fields))
  move(f, 'waiting')
  line_up(f, due)
  tell(f)
  return 1
end

local function put_all(args)
  local out = {now}
  for at = 4, #args, NEW do
    out[#out + 1] = put(args, at)
  end
  return out
end
