"""What a click tells beyond its bytes: browser, place, origin, campaign, and whether it is a bot.

Every function here takes anything a client can send, never raises because of it, and gives text
that PostgreSQL can hold. Each is memoised by its input, as the same few values come again and
again.
"""
