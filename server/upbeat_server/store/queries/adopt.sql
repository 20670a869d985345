-- Take the namespace :name over under a higher epoch.
--
-- The original of a copy may have raised its epoch since, and given out ids under it; so may a server
-- that was started on another copy of the same backup. So the epochs of a file that is a copy follow the
-- clock, a new one every five minutes since 2026: what was ever given out elsewhere is below, as long as
-- servers start less often than that on average. Epochs have 23 bits: this lasts until 2105.
-- The revisions of a copy leap as well, so that no watch goes on from a change that is not in it.
with leap (epoch) as (
    select iif(exists (select 1 from copy), max(0, (unixepoch() - 1767225600) / 300), 0)
)
insert into namespace (name, epoch, clock_ms, revision)
select :name, max(1, epoch), 0, epoch << 32
from leap
where true
on conflict (name) do update
set
    epoch = max(epoch + 1, excluded.epoch),
    revision = iif(is_copy, max(revision + (1 << 32), excluded.revision), revision)
returning namespace_id, epoch, clock_ms, revision, is_copy;
