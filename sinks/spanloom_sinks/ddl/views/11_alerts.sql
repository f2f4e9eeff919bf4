-- The last record of every alert.
CREATE OR REPLACE VIEW alerts_now AS
SELECT * FROM alerts FINAL
ORDER BY at DESC, state = 'resolved' DESC
LIMIT 1 BY identity;
