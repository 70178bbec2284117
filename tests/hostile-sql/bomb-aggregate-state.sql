-- Finishes the state of an aggregate that never ran.
-- ends: query Invalid approx_count_distinct state
SELECT finalize(to_aggregate_state({'precision': 255::UTINYINT, 'registers': [1::UTINYINT]}, 'approx_count_distinct', ['INTEGER']))
