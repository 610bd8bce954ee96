"""Plan an audit before there is any result: rows that each group needs, and margins that its rows can show."""
