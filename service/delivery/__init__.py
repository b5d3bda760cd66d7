"""The delivery path, one file per stage.

`committer` takes messages in, `announcer` tells the workers that hold their recipients, `reader`
hears what others tell this one, `hub` finds the sockets, `connection` moves data in and out of the
pure session, `acker` moves cursors. Around them: `liveness`, `reaper`, `audit`, `claims`, `poll`
(receiving without a socket); `worker` owns them all.
"""
