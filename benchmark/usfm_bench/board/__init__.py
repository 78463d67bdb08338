"""The leaderboard: submissions that are evidence, their verification, and a static site. Never imports torch."""
