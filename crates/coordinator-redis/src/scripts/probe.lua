-- Whether scripts run here, and may write.
redis.call('SET', KEYS[1], 'weir', 'PX', 1000)
return 1
