-- Breakers.

local function note(now, id, me, b, wake)
  local at = fact_of(me, b.upstream)
  if not at then
    at = #me + 1
    me[at] = b.upstream
    me[FACTS] = me[FACTS] + 1
  end
  me[at + GENERATION], me[at + THROTTLED] = b.generation, b.throttled
  me[at + FAILED], me[at + SUCCEEDED] = b.failed, b.succeeded
  local rec = a.records[b.upstream]
  if not rec then
    rec = {generation = 0, open = 0, cause = 0, till = 0, prober = ''}
    a.records[b.upstream] = rec
  end
  if b.generation > rec.generation then
    a.records[b.upstream] = {generation = b.generation, open = b.open, cause = b.cause, till = now + b.left, prober = ''}
    wake_all(wake)
  elseif rec.prober == id and b.probing == 0 then
    rec.prober = ''
    wake_all(wake)
  end
end

local function breaker(now, id, b, out)
  local rec = a.records[b.upstream]
  local at = #out
  if not rec then
    for i = 1, 8 do
      out[at + i] = 0
    end
    return
  end
  if b.probing == 1 and rec.open == 1 and now >= rec.till then
    local m = a.members[rec.prober]
    if not m or m[DEAD] ~= 0 then
      rec.prober = id
    end
  end
  local throttled, failed, succeeded = 0, 0, 0
  for _, m in pairs(a.members) do
    local f = fact_of(m, b.upstream)
    if f and m[f + GENERATION] == rec.generation then
      throttled = throttled + m[f + THROTTLED]
      failed = failed + m[f + FAILED]
      succeeded = succeeded + m[f + SUCCEEDED]
    end
  end
  out[at + 1], out[at + 2], out[at + 3], out[at + 4] = rec.generation, rec.open, rec.cause, max(rec.till - now, 0)
  out[at + 5], out[at + 6], out[at + 7], out[at + 8] = throttled, failed, succeeded, rec.prober == id and 1 or 0
end
