# A limit in front of routes of Phoenix, by the HTTP API: there is no package for Elixir.
#
# No test runs this. It is written for Plug 1.16, Req 0.5 and Jason 1.4, which Phoenix 1.8 brings.
# The limit counts by the strategy `owner`: the others take no names of hits, and answer invalid-request.
#
#     config :my_app, :weir, urls: ["http://10.0.0.1:4000", "http://10.0.0.2:4000"], api_key: nil
#
#     pipeline :limited do
#       plug MyAppWeb.RateLimit, limit: "user_home", header: "x-user-id"
#     end
defmodule MyAppWeb.RateLimit do
  @moduledoc "Lets a request pass if a limit of Weir has room for whom a header names."

  @behaviour Plug

  import Plug.Conn

  require Logger

  # Longer than the 2 s within which another node takes over a silent one's keys.
  @patience 2_500

  # Nodes remember a name for 8 s: no repeat begins later than 4 s after the first attempt.
  @repeated_for 4_000

  # Not counted, and another node may know better; or, with "counted" => "unknown", the next one knows it by its name.
  @elsewhere ~w(no-decision no-quorum stale-configuration overloaded draining tenant-rate)

  @impl true
  def init(options), do: {Keyword.fetch!(options, :limit), Keyword.fetch!(options, :header)}

  @impl true
  def call(conn, {limit, header}) do
    case get_req_header(conn, header) do
      [key | _] when key != "" -> limited(conn, check(limit, key))
      _ -> conn |> send_resp(401, "User ID Required") |> halt()
    end
  end

  @doc "Decides one hit, and counts it if it passes. A denial is `{:ok, %{\"allowed\" => false}}`."
  def check(limit, key, cost \\ 1) do
    config = Application.fetch_env!(:my_app, :weir)
    # One name for all attempts: whichever nodes see the hit count it once.
    name = Base.encode16(:crypto.strong_rand_bytes(16), case: :lower)
    proof = if config[:api_key], do: [{"authorization", "Bearer #{config[:api_key]}"}], else: []

    request =
      Req.new(
        method: :post,
        body: Jason.encode!(%{limit: limit, key: key, cost: cost}),
        headers: [{"content-type", "application/json"}, {"weir-hit-id", name} | proof],
        receive_timeout: @patience,
        connect_options: [timeout: 1_200],
        # Answers are read below, and asked again is by another node.
        decode_body: false,
        retry: false,
        redirect: false
      )

    until = System.monotonic_time(:millisecond) + @repeated_for
    ask(Enum.shuffle(config[:urls]), request, until, "no node is named")
  end

  defp ask([], _request, _until, why), do: {:error, why}

  defp ask([url | others], request, until, why) do
    if until < System.monotonic_time(:millisecond) do
      {:error, why}
    else
      case told(Req.request(request, url: url <> "/v1/check")) do
        {:elsewhere, why} -> ask(others, request, until, why)
        told -> told
      end
    end
  end

  defp told({:ok, %Req.Response{body: body}}) do
    case Jason.decode(body) do
      {:ok, %{"allowed" => _} = decision} ->
        {:ok, decision}

      {:ok, %{"type" => "/problems/" <> kind} = problem} when kind in @elsewhere ->
        {:elsewhere, problem["detail"]}

      # With quota-exceeded the requests of the tenant's day are used up: no limit has denied this.
      {:ok, %{"type" => "/problems/" <> kind} = problem} ->
        {:error, "#{kind}: #{problem["detail"]}"}

      _ ->
        {:elsewhere, "something that no node says"}
    end
  end

  defp told({:error, exception}), do: {:elsewhere, Exception.message(exception)}

  defp limited(conn, {:ok, decision}) do
    conn =
      conn
      |> put_resp_header("x-ratelimit-limit", to_string(decision["limit"]))
      |> put_resp_header("x-ratelimit-remaining", to_string(decision["remaining"]))

    if decision["allowed"] do
      conn
    else
      seconds = div((decision["retry_after_ms"] || 0) + 999, 1_000)

      conn
      |> put_resp_header("retry-after", to_string(seconds))
      |> send_resp(429, "Too Many Requests")
      |> halt()
    end
  end

  # Nobody decided. Here nobody passes then; `conn` alone would let everybody pass.
  defp limited(conn, {:error, why}) do
    Logger.error("no decision of a limit: #{why}")
    conn |> put_resp_header("retry-after", "1") |> send_resp(503, "Try again") |> halt()
  end
end
