CREATE MATERIALIZED VIEW revenue_gold AS
SELECT payment_method, count(*) AS orders, sum(total_amount) AS revenue
FROM orders_silver
GROUP BY payment_method;
