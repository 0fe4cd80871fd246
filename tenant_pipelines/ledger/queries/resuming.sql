-- name: copy_settled_steps
-- What an execution has done stands for the one that resumes it, under the name of the run that did it; what is owed,
-- failed or only begun is done again.
insert into engine.steps (execution_id, side, step, number, state, run_id, started_at, finished_at, facts, found)
select %(execution_id)s, side, step, number, state, run_id, started_at, finished_at, facts, found
  from engine.steps
 where execution_id = %(resumed_id)s and side = 'do' and state in ('done', 'skipped');

-- name: generation_of_keys
-- The execution whose run took the first step: a call that it has lost may still take effect under its keys.
select e.generation
  from engine.steps s join engine.runs r on r.run_id = s.run_id join engine.executions e on e.id = r.execution_id
 where s.execution_id = %(execution_id)s and s.side = 'do'
 order by s.number limit 1;
