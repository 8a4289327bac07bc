-- Which edition of TimescaleDB this is: 'apache' or 'timescale' (Community, with column compression).
SELECT current_setting('timescaledb.license', true)
