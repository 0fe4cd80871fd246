-- name: copy_settled_steps
-- What an execution has done stands for the one that resumes it, under the name of the run that did it; what is owed,
-- failed or only begun is done again.
insert into engine.steps (execution_id, side, step, number, state, run_id, started_at, finished_at, facts, found)
select %(execution_id)s, side, step, number, state, run_id, started_at, finished_at, facts, found
  from engine.steps
 where execution_id = %(resumed_id)s and side = 'do' and state in ('done', 'skipped');
